//! Text from outside made fit for any terminal: printable ASCII only, wrapped and cut to columns. Pure. Whatever comes out of here holds
//! no control character, so nothing that a host name or an error sentence contains can move the cursor or change the terminal.

/// What is shown for a character that has no place on an ASCII terminal.
const REPLACEMENT: char = '?';

/// Printable ASCII only: white space of any kind becomes a space, well-known typography its ASCII twin, all else `?`.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => out.push(character),
            '\t' | '\n' | '\r' | '\u{a0}' => out.push(' '),
            '\u{2026}' => out.push_str("..."),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => out.push('-'),
            '\u{2018}' | '\u{2019}' => out.push('\''),
            '\u{201c}' | '\u{201d}' => out.push('"'),
            '\u{d7}' => out.push('x'),
            '\u{b5}' | '\u{3bc}' => out.push('u'),
            _ => out.push(REPLACEMENT),
        }
    }
    out
}

/// At most `width` columns of `text`; what is cut off is shown by three dots.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.len() <= width {
        return text;
    }
    let dots = ".".repeat(width.min(3));
    format!("{}{dots}", text.get(..width - dots.len()).unwrap_or_default())
}

/// `text` in lines of at most `width` columns, broken at spaces, inside a word only where the word alone is wider. Nothing gives no line.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in plain(text).split_ascii_whitespace() {
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        let mut rest = word;
        while line.len() + rest.len() > width {
            // ASCII only, so every index is a character's start.
            let (head, tail) = rest.split_at(width - line.len());
            line.push_str(head);
            lines.push(std::mem::take(&mut line));
            rest = tail;
        }
        line.push_str(rest);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// [`wrap`], of which at most `most` lines are kept; the last one then ends in three dots.
pub(crate) fn wrap_most(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines = wrap(text, width);
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = fit(&format!("{last} {}", ".".repeat(width)), width);
        }
    }
    lines
}

/// A span for a person: `45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`.
pub(crate) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{minutes} min"),
        3600..=86399 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_and_what_is_no_ascii_are_replaced() {
        assert_eq!(plain("a\x1b[2Jb\u{9b}31mc\x07\r\nd\te\x7f"), "a?[2Jb?31mc?  d e?");
        assert_eq!(plain("5 µs … “no” – it’s 2×"), "5 us ... \"no\" - it's 2x");
        assert_eq!(plain("日本\u{202e}x"), "???x");
    }

    #[test]
    fn lines_break_at_spaces_and_inside_words_only_when_they_must() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one twothreefour", 6), ["one", "twothr", "eefour"]);
        assert_eq!(wrap("  \n ", 6), Vec::<String>::new());
        assert_eq!(wrap_most("one two three four", 9, 1), ["one tw..."]);
        assert_eq!(wrap_most("abcdefghij klm", 10, 1), ["abcdefg..."]);
        assert_eq!(fit("abcdef", 5), "ab...");
        assert_eq!(fit("abcdef", 2), "..");
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(
            [0, 59, 60, 3599, 3700, 90000].map(span),
            ["0 s", "59 s", "1 min", "59 min", "1 h 1 min", "1 d 1 h"]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_asked_or_unprintable(text in "\\PC*|(?s).*", width in 1_usize..100, most in 1_usize..5) {
            let lines = wrap(&text, width);
            let most_lines = wrap_most(&text, width, most);
            prop_assert!(most_lines.len() <= most);
            for line in lines.iter().chain(&most_lines).chain([&fit(&text, width)]) {
                prop_assert!(line.len() <= width, "{line:?}");
                prop_assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line:?}");
            }
            let glue = |text: &str| text.split_ascii_whitespace().collect::<String>();
            prop_assert_eq!(glue(&lines.join(" ")), glue(&plain(&text)), "nothing is lost");
        }
    }
}
