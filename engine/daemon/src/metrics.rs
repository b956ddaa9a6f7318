//! Prometheus text exposition format 0.0.4, as much as daemons need: counters and gauges with labels. Keeps nothing; a daemon renders
//! its numbers anew for each scrape.

use std::fmt::{Display, Write};

/// Text under construction.
#[derive(Debug, Default)]
pub struct MetricsText {
    text: String,
}

impl MetricsText {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter family: name (ending in `_total`), help, then each value with its labels.
    pub fn counter<V: Display>(&mut self, name: &str, help: &str, samples: &[(&[(&str, &str)], V)]) -> &mut Self {
        self.family(name, help, "counter", samples)
    }

    /// A gauge family.
    pub fn gauge<V: Display>(&mut self, name: &str, help: &str, samples: &[(&[(&str, &str)], V)]) -> &mut Self {
        self.family(name, help, "gauge", samples)
    }

    /// The finished text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn family<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        kind: &str,
        samples: &[(&[(&str, &str)], V)],
    ) -> &mut Self {
        // Writing to a String cannot fail.
        let _infallible = writeln!(self.text, "# HELP {name} {}\n# TYPE {name} {kind}", escape(help, false));
        for (labels, value) in samples {
            self.text.push_str(name);
            for (i, (label, text)) in labels.iter().enumerate() {
                let open = if i == 0 { '{' } else { ',' };
                let _infallible = write!(self.text, "{open}{label}=\"{}\"", escape(text, true));
            }
            let close = if labels.is_empty() { "" } else { "}" };
            let _infallible = writeln!(self.text, "{close} {value}");
        }
        self
    }
}

/// Escapes of the exposition format: backslash and line feed everywhere, double quote in label values.
fn escape(text: &str, label: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if label { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_what_prometheus_reads() {
        let mut text = MetricsText::new();
        text.counter("a_total", "How many.", &[(&[("by", "h1"), ("x", "say \"hi\"\n")], 3), (&[], 4)]);
        text.gauge("b", "back\\slash", &[(&[], 0.5)]);
        assert_eq!(
            text.into_text(),
            "# HELP a_total How many.\n# TYPE a_total counter\na_total{by=\"h1\",x=\"say \\\"hi\\\"\\n\"} 3\na_total 4\n\
             # HELP b back\\\\slash\n# TYPE b gauge\nb 0.5\n"
        );
    }
}
