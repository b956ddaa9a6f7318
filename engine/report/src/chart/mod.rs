//! Graphs as inline SVG, drawn from numbers alone.
//!
//! Colours come from the page's style sheet by class (`on`, `bypass`, `reference`), and every arm also has its own marker, so that
//! nothing rests on colour. Each SVG carries a title and a description for readers who do not see it. Points that are not finite
//! are left out. Nothing here knows a record; [`crate::html`] chooses what is drawn.

mod scale;

use std::fmt::Write as _;

use tbi_bench::protocol::Arm;

pub(crate) use scale::Scale;

const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 196.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 36.0;

/// How the points of a layer are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draw {
    /// One marker each.
    Markers,
    /// One cross each: measured, but void.
    Crosses,
    /// A line.
    Line,
    /// A dashed line.
    Dashed,
    /// A line too thin to be read as evidence.
    Faint,
}

/// Points of one arm.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) arm: Arm,
    pub(crate) draw: Draw,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One panel.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
    pub(crate) layers: Vec<Layer>,
}

/// Class of an arm in the style sheet.
pub(crate) fn class(arm: Arm) -> &'static str {
    match arm {
        Arm::On => "on",
        Arm::Bypass => "bypass",
        Arm::Reference => "reference",
    }
}

impl Plot {
    /// The panel as an SVG element.
    pub(crate) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{}</title><desc>{}</desc>",
            escape(&self.title),
            escape(&self.description)
        );
        self.axes(&mut svg);
        for layer in &self.layers {
            self.layer(&mut svg, layer);
        }
        svg.push_str("</svg>");
        svg
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.position(x) * (WIDTH - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.position(y) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&self, svg: &mut String) {
        let bottom = HEIGHT - BOTTOM;
        let right = WIDTH - RIGHT;
        svg.push_str("<g class=\"axis\">");
        for (value, label) in self.y.ticks() {
            let y = self.py(value);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" class=\"end\">{}</text>",
                LEFT - 5.0,
                y + 3.2,
                escape(&label)
            );
        }
        for (value, label) in self.x.ticks() {
            let x = self.px(value);
            let _ = write!(svg, "<path d=\"M{x:.1} {bottom}v3.5\"/>");
            let _ =
                write!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" class=\"middle\">{}</text>", bottom + 13.5, escape(&label));
        }
        let _ = write!(svg, "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let middle = (LEFT + right) / 2.0;
        let _ = write!(
            svg,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" class=\"middle name\">{}</text>",
            HEIGHT - 6.0,
            escape(&self.x_label)
        );
        let middle = (TOP + bottom) / 2.0;
        let _ = write!(
            svg,
            "<text transform=\"translate(9 {middle:.1}) rotate(-90)\" class=\"middle name\">{}</text></g>",
            escape(&self.y_label)
        );
    }

    fn layer(&self, svg: &mut String, layer: &Layer) {
        let points: Vec<(f64, f64)> = layer
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .map(|&(x, y)| (self.px(x), self.py(y)))
            .collect();
        if points.is_empty() {
            return;
        }
        let class = class(layer.arm);
        let style = match layer.draw {
            Draw::Markers => {
                for (x, y) in points {
                    marker(svg, layer.arm, x, y);
                }
                return;
            }
            Draw::Crosses => {
                for (x, y) in points {
                    let (x, y) = (x - 3.0, y - 3.0);
                    let _ = write!(svg, "<path class=\"{class} line\" d=\"M{x:.1} {y:.1}l6 6m0 -6l-6 6\"/>");
                }
                return;
            }
            Draw::Line => "line",
            Draw::Dashed => "line dashed",
            Draw::Faint => "line faint",
        };
        let _ = write!(svg, "<path class=\"{class} {style}\" d=\"");
        for (index, (x, y)) in points.into_iter().enumerate() {
            let _ = write!(svg, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        svg.push_str("\"/>");
    }
}

/// The arm's marker: ON a disc, BYPASS a hollow square, reference a hollow triangle.
fn marker(svg: &mut String, arm: Arm, x: f64, y: f64) {
    let class = class(arm);
    let _ = match arm {
        Arm::On => write!(svg, "<circle class=\"{class} full\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.1\"/>"),
        Arm::Bypass => {
            write!(svg, "<path class=\"{class} hollow\" d=\"M{:.1} {:.1}h5.6v5.6h-5.6z\"/>", x - 2.8, y - 2.8)
        }
        Arm::Reference => write!(svg, "<path class=\"{class} hollow\" d=\"M{x:.1} {:.1}l3.4 6h-6.8z\"/>", y - 3.9),
    };
}

/// The arm's marker alone, for a legend.
pub(crate) fn legend_marker(arm: Arm) -> String {
    let mut svg = "<svg class=\"key\" viewBox=\"0 0 12 12\" aria-hidden=\"true\">".to_owned();
    marker(&mut svg, arm, 6.0, 6.0);
    svg.push_str("</svg>");
    svg
}

/// An estimate with its interval on the axis all rows of a table share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) middle: f64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// The true value may lie further right.
    pub(crate) open: bool,
}

impl Interval {
    /// As an SVG element; `scale` is that of the whole table and holds 1.
    pub(crate) fn svg(&self, scale: &Scale, description: &str) -> String {
        const WIDTH: f64 = 150.0;
        const HEIGHT: f64 = 20.0;
        let at = |value: f64| 6.0 + scale.position(value) * (WIDTH - 12.0);
        let (one, middle) = (at(1.0), at(self.middle));
        let mut svg = format!(
            "<svg class=\"interval\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{}</title>\
             <path class=\"one\" d=\"M{one:.1} 0V{HEIGHT}\"/>",
            escape(description)
        );
        if let (Some(low), Some(high)) = (self.low, self.high) {
            let (low, high) = (at(low), at(high));
            let _ = write!(svg, "<path class=\"range\" d=\"M{low:.1} 10H{high:.1}M{low:.1} 6.5v7M{high:.1} 6.5v7\"/>");
        }
        if self.open {
            let end = WIDTH - 3.0;
            let _ =
                write!(svg, "<path class=\"open\" d=\"M{middle:.1} 10H{end}M{:.1} 6.5l4.5 3.5l-4.5 3.5\"/>", end - 4.5);
        }
        let _ = write!(svg, "<circle class=\"point\" cx=\"{middle:.1}\" cy=\"10\" r=\"3.4\"/></svg>");
        svg
    }
}

/// Text for element content and quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> String {
        Plot {
            title: "a <b>".to_owned(),
            description: "\"d\"".to_owned(),
            x_label: "x".to_owned(),
            y_label: "y".to_owned(),
            x: Scale::linear(0.0, 10.0),
            y: Scale::linear(0.0, 10.0),
            layers: vec![Layer { arm: Arm::On, draw: Draw::Markers, points }],
        }
        .svg()
    }

    #[test]
    fn points_that_are_no_numbers_are_left_out() {
        let svg = plot(vec![(1.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)]);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn words_are_escaped() {
        let svg = plot(Vec::new());
        assert!(svg.contains("<title>a &lt;b&gt;</title><desc>&quot;d&quot;</desc>"), "{svg}");
    }
}
