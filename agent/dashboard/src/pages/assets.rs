//! Files of the pages that are part of the program: style and pictures, and modules when there are. They are served under `/assets/HASH/NAME`,
//! where the hash is that of all of them together: so a module finds its neighbours by relative imports that nobody has to rewrite, and what a
//! browser keeps is never of two versions.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::StatusCode;
use http::header::{self, HeaderValue};

use super::Pages;
use super::refused::{Refused, Shown};

/// One file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asset {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) body: &'static [u8],
}

macro_rules! assets {
    ($($name:literal is $kind:literal),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, body: include_bytes!(concat!("../../assets/", $name)) }),*]
    };
}

/// All there are.
pub(crate) const ASSETS: &[Asset] = assets![
    "style.css" is "text/css; charset=utf-8",
    "mark.svg" is "image/svg+xml",
    "live.js" is "text/javascript; charset=utf-8",
    "charts.js" is "text/javascript; charset=utf-8",
    "uplot.js" is "text/javascript; charset=utf-8",
    "uplot.css" is "text/css; charset=utf-8",
    "uplot-license.txt" is "text/plain; charset=utf-8",
    "app.js" is "text/javascript; charset=utf-8",
    "keep.js" is "text/javascript; charset=utf-8",
    "idle.js" is "text/javascript; charset=utf-8",
    "files.js" is "text/javascript; charset=utf-8",
    "busy.js" is "text/javascript; charset=utf-8",
];

/// Hex digits of the hash in the path: an accident of one version to the next is out of the question.
const DIGITS: usize = 16;

static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut context = digest::Context::new(&digest::SHA256);
    for asset in ASSETS {
        // Lengths keep the border between name and body where it is.
        for part in [asset.name.as_bytes(), asset.body] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    let mut hash = HEXLOWER.encode(context.finish().as_ref());
    hash.truncate(DIGITS);
    hash
});

/// Where the pages find a file.
pub(crate) fn path(name: &str) -> String {
    format!("/assets/{}/{name}", *HASH)
}

/// Serves a file. A browser may keep it for good, because its path changes with it.
pub(super) async fn serve(State(_pages): State<Arc<Pages>>, Path((hash, name)): Path<(String, String)>) -> Shown {
    let asset = ASSETS.iter().find(|asset| hash == *HASH && asset.name == name).ok_or_else(|| {
        // Of a page that was loaded before the program was renewed.
        Refused::new(StatusCode::NOT_FOUND, "not-found", "there is no such file in this version; load the page again")
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok::<Response, _>((headers, asset.body).into_response())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn budgets_of_the_assets_hold() {
        let bytes = |end: &str| -> usize {
            ASSETS.iter().filter(|asset| asset.name.ends_with(end)).map(|asset| asset.body.len()).sum()
        };
        assert!((1..=40_000).contains(&bytes(".css")), "CSS: {} bytes", bytes(".css"));
        assert!(bytes(".js") <= 150_000, "JavaScript: {} bytes", bytes(".js"));
    }

    #[test]
    fn nothing_in_the_assets_leaves_the_origin() {
        for asset in ASSETS {
            let text = String::from_utf8_lossy(asset.body);
            for word in ["http://", "https://", "@import", "url(//"] {
                let own = text.matches(word).count();
                // An SVG names its own language.
                let names = text.matches("http://www.w3.org/2000/svg").count();
                let allowed = if word == "http://" { names } else { 0 };
                assert_eq!(own, allowed, "{} has {word}", asset.name);
            }
        }
    }

    /// Relative luminance (WCAG 2.2) of `#rgb` or `#rrggbb`.
    fn luminance(colour: &str) -> f64 {
        let digits: Vec<f64> = colour[1..].chars().map(|digit| f64::from(digit.to_digit(16).unwrap())).collect();
        let part = |index: usize| match digits.len() {
            3 => digits[index] * 17.0,
            _ => digits[2 * index] * 16.0 + digits[2 * index + 1],
        };
        let linear = |value: f64| if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
        let [red, green, blue] = [0, 1, 2].map(|index| linear(part(index) / 255.0));
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    #[test]
    fn colours_can_be_told_apart_in_light_and_dark() {
        let style = std::str::from_utf8(ASSETS[0].body).unwrap();
        let pair = |name: &str| -> [String; 2] {
            let lead = format!("--{name}: light-dark(");
            let value = style.split(&lead).nth(1).unwrap_or_else(|| panic!("there is no colour {name}"));
            let (light, dark) = value.split(')').next().unwrap().split_once(", ").unwrap();
            [light.to_owned(), dark.to_owned()]
        };
        let contrast = |one: &str, other: &str| {
            let (one, other) = (luminance(one), luminance(other));
            (one.max(other) + 0.05) / (one.min(other) + 0.05)
        };
        for (front, grounds, least) in [
            ("ink", &["paper", "tint", "bad-tint"][..], 4.5),
            ("soft", &["paper", "tint"], 4.5),
            ("link", &["paper", "tint"], 4.5),
            ("good", &["paper", "good-tint"], 4.5),
            ("bad", &["paper", "tint", "bad-tint"], 4.5),
            ("warn", &["paper", "warn-tint"], 4.5),
            // Borders of fields (WCAG 2.2, 1.4.11).
            ("edge", &["paper", "tint"], 3.0),
        ] {
            for ground in grounds {
                for (one, other) in pair(front).iter().zip(pair(ground)) {
                    let seen = contrast(one, &other);
                    assert!(seen >= least, "{front} on {ground}, {one} on {other}: {seen:.2}");
                }
            }
        }
        for bar in pair("bar") {
            assert!(contrast("#fff", &bar) >= 4.5, "the header: {bar}");
        }
        assert!((contrast("#000", "#ffffff") - 21.0).abs() < 0.01);
    }
}
