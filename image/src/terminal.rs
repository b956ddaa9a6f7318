//! What a machine writes to its serial line, as words.

/// Without what moves cursors and changes colours.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\u{1b}' {
            out.push(letter);
            continue;
        }
        if letters.next_if_eq(&'[').is_some() {
            // Parameters, then one letter; what moved the cursor stands between words.
            while letters.next_if(|it| !it.is_ascii_alphabetic()).is_some() {}
            if letters.next().is_some_and(|it| it == 'H') {
                out.push(' ');
            }
        } else {
            letters.next();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_through_cursor_moves() {
        assert!(plain("\u{1b}[13;16Hhealthy").contains(" healthy"));
        assert!(plain("Health        healthy\u{1b}[K").contains(" healthy"));
        assert!(!plain("unhealthy \u{1b}[3").contains(" healthy"));
    }
}
