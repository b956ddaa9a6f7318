//! From the rows that should be on the screen to the bytes that put them there. Pure. Only what differs is sent, in one piece, with the
//! three sequences every terminal since the VT100 knows: place the cursor, erase to the end of the row, and (on a whole redraw) reset of
//! attributes and scrolling region. No alternate screen, no mouse, no colours. A terminal without any of these gets plain lines.

/// How the terminal is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Places the cursor.
    Screen,
    /// Knows only lines: a whole page when something changed.
    Lines,
}

impl Speech {
    /// From `TERM`; terminals that say nothing about themselves get lines.
    pub(crate) fn of(term: Option<&str>) -> Self {
        match term {
            None | Some("" | "dumb" | "unknown" | "network") => Self::Lines,
            Some(_) => Self::Screen,
        }
    }
}

/// A terminal, as far as we know what it shows.
#[derive(Debug, Default)]
pub(crate) struct Painter {
    shown: Option<Vec<String>>,
}

impl Painter {
    /// Nobody knows any more what the terminal shows; the next frame is drawn whole.
    pub(crate) fn forget(&mut self) {
        self.shown = None;
    }

    /// The bytes that turn what is shown into `rows`; none when it is the same.
    pub(crate) fn paint(&mut self, rows: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        let known = self.shown.take().filter(|shown| shown.len() == rows.len());
        if known.is_none() {
            out.extend_from_slice(b"\x1b[0m\x1b[r");
        }
        for (index, row) in rows.iter().enumerate() {
            match known.as_ref().and_then(|shown| shown.get(index)) {
                None => {
                    place(&mut out, index, 0);
                    out.extend_from_slice(row.as_bytes());
                    out.extend_from_slice(b"\x1b[K");
                }
                Some(old) if old == row => {}
                Some(old) => difference(&mut out, index, old.as_bytes(), row.as_bytes()),
            }
        }
        if !out.is_empty() {
            // Where the next kernel message does the least harm.
            place(&mut out, rows.len().saturating_sub(1), 0);
        }
        self.shown = Some(rows.to_vec());
        out
    }
}

/// The page for a terminal that knows only lines: rows without the empty ones, and a blank line before.
pub(crate) fn page(rows: &[String], line_end: &str) -> Vec<u8> {
    let mut out = line_end.to_owned();
    for row in rows.iter().filter(|row| !row.is_empty()) {
        out.push_str(row);
        out.push_str(line_end);
    }
    out.into_bytes()
}

fn place(out: &mut Vec<u8>, row: usize, column: usize) {
    out.extend_from_slice(format!("\x1b[{};{}H", row + 1, column + 1).as_bytes());
}

/// The one stretch of a row from the first to the last column that differs. Both rows are ASCII: a byte is a column.
fn difference(out: &mut Vec<u8>, row: usize, old: &[u8], new: &[u8]) {
    let at = |line: &[u8], column: usize| line.get(column).copied().unwrap_or(b' ');
    let width = old.len().max(new.len());
    let Some(first) = (0..width).find(|column| at(old, *column) != at(new, *column)) else { return };
    let last = (first..width).rev().find(|column| at(old, *column) != at(new, *column)).unwrap_or(first);
    place(out, row, first);
    if last >= new.len() {
        out.extend_from_slice(new.get(first..).unwrap_or_default());
        out.extend_from_slice(b"\x1b[K");
    } else {
        out.extend_from_slice(new.get(first..=last).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a VT100 makes of our bytes: a grid.
    fn replay(grid: &mut [Vec<u8>], bytes: &[u8]) {
        let (mut row, mut column, mut rest) = (0, 0, bytes);
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            if byte != 0x1b {
                grid[row][column] = byte;
                column += 1;
                continue;
            }
            let end = rest.iter().position(u8::is_ascii_alphabetic).map_or(rest.len(), |end| end + 1);
            let (sequence, tail) = rest.split_at(end);
            rest = tail;
            let sequence = String::from_utf8_lossy(sequence);
            if let Some((r, c)) =
                sequence.strip_prefix('[').and_then(|it| it.strip_suffix('H')).and_then(|it| it.split_once(';'))
            {
                (row, column) = (r.parse::<usize>().map_or(0, |it| it - 1), c.parse::<usize>().map_or(0, |it| it - 1));
            } else if sequence == "[K" {
                grid[row][column..].fill(b' ');
            } else {
                assert!(sequence == "[0m" || sequence == "[r", "an unexpected sequence: {sequence}");
            }
        }
    }

    fn screen(grid: &[Vec<u8>]) -> Vec<String> {
        grid.iter().map(|row| String::from_utf8_lossy(row).trim_end().to_owned()).collect()
    }

    fn rows(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_the_difference_is_sent() {
        let mut painter = Painter::default();
        let _whole = painter.paint(&rows(&["time 12:00:08", "same", "long text"]));
        assert_eq!(painter.paint(&rows(&["time 12:00:08", "same", "long text"])), b"");
        assert_eq!(painter.paint(&rows(&["time 12:00:09", "same", "long text"])), b"\x1b[1;13H9\x1b[3;1H");
        assert_eq!(painter.paint(&rows(&["time 12:00:09", "same", "long"])), b"\x1b[3;6H\x1b[K\x1b[3;1H");
        painter.forget();
        assert!(painter.paint(&rows(&["a"])).starts_with(b"\x1b[0m\x1b[r\x1b[1;1Ha\x1b[K"));
    }

    #[test]
    fn terminals_that_are_dumb_get_lines() {
        assert_eq!([None, Some("dumb"), Some("unknown"), Some("")].map(Speech::of), [Speech::Lines; 4]);
        assert_eq!(
            ["vt100", "vt220", "linux", "xterm-256color"].map(|term| Speech::of(Some(term))),
            [Speech::Screen; 4]
        );
        assert_eq!(page(&rows(&["a", "", "b"]), "\r\n"), b"\r\na\r\nb\r\n");
    }

    proptest! {
        #[test]
        fn the_screen_shows_the_last_frame(frames in proptest::collection::vec(proptest::collection::vec("[ab -]{0,12}", 5), 1..8)) {
            let mut painter = Painter::default();
            let mut grid = vec![vec![b'x'; 20]; 5];
            for frame in frames {
                let frame: Vec<String> = frame.iter().map(|row| row.trim_end().to_owned()).collect();
                let bytes = painter.paint(&frame);
                replay(&mut grid, &bytes);
                prop_assert_eq!(screen(&grid), frame);
            }
        }
    }
}
