//! Charts as SVG that the server draws: lines over time with gaps where nothing was sampled, an axis of round numbers, bands where runs were
//! under way. Pure; gives coordinates and texts, and the template places them. Every chart has a table as its twin, so it is a picture with a
//! name and nothing in it is needed to know the numbers.

/// Size of a chart in its own units; it is scaled to the page.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const HEIGHT: f64 = 220.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// Lines of the grid, about.
const GRID: f64 = 4.0;

/// Where a number or a time stands at an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) at: String,
    pub(super) text: String,
}

/// A line; its parts are apart where there are gaps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    /// Number of the pattern, from 1: colour and dashes.
    pub(super) pattern: usize,
    pub(super) name: String,
    /// `d` of a path.
    pub(super) path: String,
}

/// Where a run was under way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Band {
    pub(super) x: String,
    pub(super) width: String,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) summary: String,
    pub(super) curves: Vec<Curve>,
    pub(super) bands: Vec<Band>,
    pub(super) levels: Vec<Mark>,
    pub(super) times: Vec<Mark>,
    /// Left and right end of the grid's lines; bottom of the bands; where texts stand.
    pub(super) left: String,
    pub(super) right: String,
    pub(super) top: String,
    pub(super) bottom: String,
    pub(super) below: String,
    pub(super) tall: String,
}

/// Something that is drawn.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: Vec<Option<f64>>,
}

fn coordinate(value: f64) -> String {
    format!("{value:.1}")
}

/// The least of 1, 2, 5 times a power of ten that makes no more than [`GRID`] steps up to `top`.
fn round_step(top: f64) -> f64 {
    let raw = (top / GRID).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(raw.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= raw * 0.999).unwrap_or(10.0);
    times * power
}

/// The chart's frame, before its texts: `steps` places from left to right, `top` the value at its upper end.
#[derive(Debug, Clone, Copy)]
struct Field {
    steps: usize,
    top: f64,
}

impl Field {
    fn x(self, place: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * place / self.steps.max(1) as f64
    }

    fn y(self, value: f64) -> f64 {
        let height = HEIGHT - TOP - BOTTOM;
        TOP + height - height * (value / self.top).clamp(0.0, 1.0)
    }

    /// In the middle of its step; one sample between two gaps is a short line, as a point would not be seen.
    fn path(self, values: &[Option<f64>]) -> String {
        let mut path = String::new();
        let mut before = false;
        for (place, value) in values.iter().enumerate() {
            let Some(value) = value.filter(|value| value.is_finite()) else {
                before = false;
                continue;
            };
            let after = values.get(place + 1).is_some_and(Option::is_some);
            let (place, y) = (place as f64, coordinate(self.y(value)));
            match (before, after) {
                (false, false) => {
                    let (x, end) = (coordinate(self.x(place)), coordinate(self.x(place + 1.0)));
                    path.push_str(&format!("M{x} {y}H{end}"));
                }
                (false, true) => path.push_str(&format!("M{} {y}", coordinate(self.x(place + 0.5)))),
                (true, _) => path.push_str(&format!("L{} {y}", coordinate(self.x(place + 0.5)))),
            }
            before = true;
        }
        path
    }
}

/// Draws. `running`: where runs were under way. `level` writes a number at the axis; `times`: places of round times, as texts.
pub(super) fn draw(
    (id, title, unit, summary): (&'static str, String, &'static str, String),
    series: Vec<Series>,
    running: &[bool],
    floor: f64,
    level: impl Fn(f64) -> String,
    times: &[(f64, String)],
) -> Chart {
    let steps = running.len();
    let values = series.iter().flat_map(|series| &series.values).flatten().copied();
    let most = values.filter(|value| value.is_finite()).fold(floor, f64::max);
    let step = round_step(most);
    let top = (most / step).ceil().max(1.0) * step;
    let field = Field { steps, top };
    let count = (top / step).round() as usize;
    let curves = series.into_iter().enumerate().map(|(place, series)| Curve {
        pattern: place + 1,
        path: field.path(&series.values),
        name: series.name,
    });
    let mut bands = Vec::new();
    let mut place = 0;
    while place < steps {
        let length = running[place..].iter().take_while(|running| **running).count();
        if length > 0 {
            let (from, to) = (field.x(place as f64), field.x((place + length) as f64));
            bands.push(Band { x: coordinate(from), width: coordinate(to - from) });
        }
        place += length.max(1);
    }
    Chart {
        id,
        title,
        unit,
        summary,
        curves: curves.collect(),
        bands,
        levels: (0..=count)
            .map(|place| place as f64 * step)
            .map(|value| Mark { at: coordinate(field.y(value)), text: level(value) })
            .collect(),
        times: times.iter().map(|(place, text)| Mark { at: coordinate(field.x(*place)), text: text.clone() }).collect(),
        left: coordinate(LEFT),
        right: coordinate(WIDTH - RIGHT),
        top: coordinate(TOP),
        bottom: coordinate(HEIGHT - BOTTOM),
        below: coordinate(HEIGHT - BOTTOM + 16.0),
        tall: coordinate(HEIGHT - TOP - BOTTOM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: Vec<Option<f64>>, running: &[bool]) -> Chart {
        let series = vec![Series { name: "a".to_owned(), values }];
        draw(("id", "t".to_owned(), "%", String::new()), series, running, 0.0, |value| value.to_string(), &[])
    }

    #[test]
    fn a_gap_is_a_gap_and_never_a_line_down_to_zero() {
        let chart = drawn(vec![Some(10.0), Some(20.0), None, Some(20.0), Some(10.0)], &[false; 5]);
        let path = &chart.curves[0].path;
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 2), "{path}");
        let alone = drawn(vec![None, Some(10.0), None], &[false; 3]);
        assert!(alone.curves[0].path.contains('H'), "a single sample is seen");
        assert_eq!(drawn(vec![None, Some(f64::NAN)], &[false; 2]).curves[0].path, "");
    }

    #[test]
    fn axes_have_round_numbers_and_begin_with_nothing() {
        let levels = |most: f64| -> Vec<String> {
            drawn(vec![Some(most)], &[false]).levels.into_iter().map(|mark| mark.text).collect()
        };
        assert_eq!(levels(100.0), ["0", "50", "100"]);
        assert_eq!(levels(37.0), ["0", "10", "20", "30", "40"]);
        assert_eq!(levels(0.0).first().map(String::as_str), Some("0"), "also of nothing at all");
        assert!(levels(1e12).len() <= 6);
    }

    #[test]
    fn runs_are_bands_as_long_as_they_were() {
        let chart = drawn(vec![Some(1.0); 6], &[true, true, false, false, true, false]);
        assert_eq!(chart.bands.len(), 2);
        assert_eq!(chart.bands[0].x, chart.left);
        assert!(drawn(Vec::new(), &[]).bands.is_empty());
    }
}
