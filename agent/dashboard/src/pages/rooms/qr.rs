//! A text as a QR code, drawn as one path of an inline SVG. Pure; the template has the frame and its words.

use qrcode::types::Color;
use qrcode::{EcLevel, QrCode};

/// Blank modules around the code that scanners count on (ISO/IEC 18004, 6.3.8).
const QUIET: usize = 4;

/// Edge of the picture and what is drawn in it, in modules.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pages) struct Picture {
    pub(in crate::pages) edge: usize,
    pub(in crate::pages) path: String,
}

/// `None`: the text is too long for a code.
pub(in crate::pages) fn picture(text: &str) -> Option<Picture> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let colors = code.to_colors();
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        while x < width {
            let run = row.iter().skip(x).take_while(|color| **color == Color::Dark).count();
            if run > 0 {
                path.push_str(&format!("M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET));
            }
            x += run.max(1);
        }
    }
    Some(Picture { edge: width + 2 * QUIET, path })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_picture_has_the_three_corners_of_a_code_and_nothing_but_a_path() {
        let picture = picture("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP").unwrap();
        let last = picture.edge - QUIET - 7;
        for corner in [
            format!("M{QUIET} {QUIET}h7v1h-7z"),
            format!("M{last} {QUIET}h7v1h-7z"),
            format!("M{QUIET} {last}h7v1h-7z"),
        ] {
            assert!(picture.path.contains(&corner), "{corner} in {}", picture.path);
        }
        assert!(picture.path.chars().all(|c| matches!(c, 'M' | 'h' | 'v' | 'z' | '-' | ' ') || c.is_ascii_digit()));
        assert_eq!(super::picture(&"a".repeat(5000)), None);
    }

    #[test]
    fn every_dark_module_is_drawn_once() {
        let text = "otpauth://totp/b";
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        let dark = code.to_colors().iter().filter(|color| **color == Color::Dark).count();
        let drawn: usize = picture(text)
            .unwrap()
            .path
            .split('h')
            .skip(1)
            .step_by(2)
            .map(|run| run.split('v').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(drawn, dark);
    }
}
