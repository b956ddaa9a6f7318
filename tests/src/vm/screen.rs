//! What a person sees on the serial line: the bytes replayed on an 80x24 terminal that knows what kernel, systemd and our console send.

/// Columns.
const WIDTH: usize = 80;
/// Rows.
const HEIGHT: usize = 24;

/// A terminal's screen.
#[derive(Debug, Clone)]
pub struct Screen {
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    /// The screen after all of `bytes`.
    #[must_use]
    pub fn replay(bytes: &[u8]) -> Self {
        let mut screen = Self { rows: vec![vec![' '; WIDTH]; HEIGHT], row: 0, column: 0 };
        let text = String::from_utf8_lossy(bytes);
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\x1b' => match characters.next() {
                    Some('[') => {
                        let mut arguments = String::new();
                        let last = characters.by_ref().find(|character| {
                            let is_last = ('@'..='~').contains(character);
                            if !is_last {
                                arguments.push(*character);
                            }
                            is_last
                        });
                        screen.control(&arguments, last);
                    }
                    // OSC: up to BEL or ST.
                    Some(']') => {
                        let _skipped = characters.by_ref().find(|character| matches!(character, '\x07' | '\\'));
                    }
                    Some('(' | ')' | '#' | ' ') => {
                        let _set = characters.next();
                    }
                    Some('c') => screen.rows.iter_mut().for_each(|row| row.fill(' ')),
                    _ => {}
                },
                '\r' => screen.column = 0,
                '\n' => screen.down(),
                '\x08' => screen.column = screen.column.saturating_sub(1),
                '\t' => screen.column = (screen.column / 8 * 8 + 8).min(WIDTH - 1),
                character if character.is_control() => {}
                character => screen.put(character),
            }
        }
        screen
    }

    /// Rows, without spaces at their ends.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        self.rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    /// All of it with every stretch of white space as one space, so that a sentence is found however it was broken into rows.
    #[must_use]
    pub fn words(&self) -> String {
        self.rows().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn put(&mut self, character: char) {
        if self.column >= WIDTH {
            self.column = 0;
            self.down();
        }
        if let Some(cell) = self.rows.get_mut(self.row).and_then(|row| row.get_mut(self.column)) {
            *cell = character;
        }
        self.column += 1;
    }

    fn down(&mut self) {
        if self.row + 1 < HEIGHT {
            self.row += 1;
        } else {
            self.rows.rotate_left(1);
            if let Some(row) = self.rows.last_mut() {
                row.fill(' ');
            }
        }
    }

    fn control(&mut self, arguments: &str, last: Option<char>) {
        let number =
            |index: usize| arguments.split(';').nth(index).and_then(|it| it.parse::<usize>().ok()).unwrap_or(0);
        match last {
            Some('H' | 'f') => {
                self.row = number(0).clamp(1, HEIGHT) - 1;
                self.column = number(1).clamp(1, WIDTH) - 1;
            }
            Some('r') if !arguments.starts_with('?') => (self.row, self.column) = (0, 0),
            Some('A') => self.row = self.row.saturating_sub(number(0).max(1)),
            Some('B') => self.row = (self.row + number(0).max(1)).min(HEIGHT - 1),
            Some('C') => self.column = (self.column + number(0).max(1)).min(WIDTH - 1),
            Some('D') => self.column = self.column.saturating_sub(number(0).max(1)),
            Some('K') => {
                let column = self.column.min(WIDTH);
                if let Some(row) = self.rows.get_mut(self.row) {
                    match number(0) {
                        0 => row[column..].fill(' '),
                        1 => row[..column].fill(' '),
                        _ => row.fill(' '),
                    }
                }
            }
            Some('J') => {
                let from = if number(0) == 0 { self.row + 1 } else { 0 };
                self.rows.iter_mut().skip(from).for_each(|row| row.fill(' '));
            }
            // Colours and modes move nothing.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_lines_land_where_a_terminal_puts_them() {
        let screen = Screen::replay(
            b"[\x1b[0;32m  OK  \x1b[0m] Started\r\nmore\r\n\x1b[0m\x1b[r\x1b[1;1HTime 1\x1b[K\x1b[2;1Ha sentence that\x1b[K\x1b[3;1H  goes on\x1b[K\x1b[1;6H2",
        );
        assert_eq!(screen.rows()[..3], ["Time 2", "a sentence that", "  goes on"]);
        assert!(screen.words().contains("a sentence that goes on"));
    }

    #[test]
    fn long_output_scrolls_and_long_lines_wrap() {
        let lines: String = (0..30).map(|number| format!("line {number}\r\n")).collect();
        let screen = Screen::replay(format!("{lines}{}", "x".repeat(85)).as_bytes());
        assert_eq!(screen.rows()[0], "line 8");
        assert_eq!(screen.rows()[22], "x".repeat(80));
        assert_eq!(screen.rows()[23], "xxxxx");
    }
}
