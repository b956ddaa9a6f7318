//! One file of the spool: what can be read of it, and what becomes of one that lacks something. Reading is bounded by the longest line;
//! mending is pure.
//!
//! Invariant: a mended file has every number from its first to its last once, in order.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

use jiff::Timestamp;

use super::line::{LONGEST, NewTick, Tick, TickError, parse_tick, write_tick};

/// Kind of a tick whose line was damaged: it takes the number and counts nothing.
pub const LOST: &str = "lost";
/// No line is shorter, so a piece of so many bytes holds one more line at most.
const SHORTEST: u64 = 64;

/// What a file has.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Ticks that can be read, by number.
    pub(super) good: BTreeMap<u64, NewTick>,
    /// Whole lines that cannot, cut to [`LONGEST`].
    pub(super) damaged: Vec<Vec<u8>>,
    /// What lies behind the last line feed.
    pub(super) torn: Vec<u8>,
    /// Bytes up to the last line feed.
    pub(super) length: u64,
    /// Highest number that some line has or must have had.
    pub(super) reach: u64,
}

impl Content {
    /// Reads a file whose first line has the number `first`.
    pub(super) fn read(reader: &mut impl BufRead, first: u64) -> io::Result<Self> {
        let mut content = Self { reach: first.saturating_sub(1), ..Self::default() };
        while let Some(line) = next_line(reader)? {
            if !line.whole {
                content.torn = line.bytes;
                break;
            }
            content.length += line.length;
            match parse_tick(&line.bytes) {
                Ok(Tick { client_seq, tick }) => {
                    content.reach = content.reach.max(client_seq);
                    // Of two lines with one number, which nobody writes, the first counts.
                    content.good.entry(client_seq).or_insert(tick);
                }
                Err(_) => {
                    content.reach = reach_of(&line, content.reach);
                    content.damaged.push(line.bytes);
                }
            }
        }
        Ok(content)
    }

    /// Whether a number of this range cannot be read.
    pub(super) fn lacks(&self, from: u64, to: u64) -> bool {
        from <= to && (self.good.range(from..=to).count() as u64) < to - from + 1
    }

    /// The file as it should be, from `first` to `to`: where a tick cannot be read, a lost one.
    pub(super) fn mended(mut self, first: u64, to: u64) -> Result<Mended, TickError> {
        let mut mended = Mended::default();
        let mut when = self.good.values().next().map_or(Timestamp::UNIX_EPOCH, |tick| tick.when);
        for client_seq in first..=to {
            let tick = self.good.remove(&client_seq).unwrap_or_else(|| {
                mended.lost.push(client_seq);
                NewTick { when, kind: LOST.to_owned(), run: String::new(), unit: String::new(), quantity: 0 }
            });
            when = tick.when;
            mended.text.push_str(&write_tick(&Tick { client_seq, tick })?);
        }
        mended.damaged = self.damaged;
        Ok(mended)
    }
}

/// What takes the place of a file that lacks something.
#[derive(Debug, Default)]
pub(super) struct Mended {
    /// All of it.
    pub(super) text: String,
    /// Numbers that are lost now.
    pub(super) lost: Vec<u64>,
    /// Lines that are left out of it.
    pub(super) damaged: Vec<Vec<u8>>,
}

/// How far a damaged line reaches: it had a number, and more when the line feeds between some were damaged. Their beginnings still say so, and
/// are believed as far as the line has room for them.
fn reach_of(line: &ReadLine, before: u64) -> u64 {
    let most = before.saturating_add(1 + line.length / SHORTEST);
    let text = String::from_utf8_lossy(&line.bytes);
    let named = text.split("v1 ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    named.filter(|number| *number <= most).max().unwrap_or(0).max(before.saturating_add(1))
}

#[derive(Debug)]
struct ReadLine {
    /// Without the line feed, and cut when it is longer than a line can be.
    bytes: Vec<u8>,
    length: u64,
    whole: bool,
}

/// The next line in bounded memory, however long it is.
fn next_line(reader: &mut impl BufRead) -> io::Result<Option<ReadLine>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(LONGEST as u64).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut length = bytes.len() as u64;
    let mut whole = bytes.ends_with(b"\n");
    let mut more = Vec::new();
    while !whole {
        more.clear();
        let read = reader.by_ref().take(LONGEST as u64).read_until(b'\n', &mut more)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        whole = more.ends_with(b"\n");
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    Ok(Some(ReadLine { bytes, length, whole }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn text(numbers: impl IntoIterator<Item = u64>) -> String {
        let tick = |client_seq: u64| Tick {
            client_seq,
            tick: NewTick {
                when: Timestamp::from_second(1_800_000_000 + i64::try_from(client_seq).unwrap()).unwrap(),
                kind: "run".to_owned(),
                run: format!("r{client_seq}"),
                unit: "run".to_owned(),
                quantity: 7,
            },
        };
        numbers.into_iter().map(|number| write_tick(&tick(number)).unwrap()).collect()
    }

    fn read(bytes: &[u8], first: u64) -> Content {
        Content::read(&mut &*bytes, first).unwrap()
    }

    /// One byte of a file is another one: whatever it was, each number from the first to the last is there once, read or lost, and no number
    /// is left that the next tick could take a second time.
    #[test]
    fn any_damaged_byte_leaves_each_number_once() {
        let whole = text(4..=7).into_bytes();
        for at in 0..whole.len() - 1 {
            for byte in [b'#', b'\n', 0xff] {
                let mut spoilt = whole.clone();
                if std::mem::replace(&mut spoilt[at], byte) == byte {
                    continue;
                }
                let content = read(&spoilt, 4);
                assert!((7..=8).contains(&content.reach), "byte {at} is {byte}: {}", content.reach);
                let reach = content.reach;
                let mended = content.mended(4, reach).unwrap();
                let again = read(mended.text.as_bytes(), 4);
                assert!(!again.lacks(4, reach) && again.damaged.is_empty() && again.reach == reach);
                assert!(!mended.lost.is_empty() && mended.lost.len() <= 3, "{:?}", mended.lost);
                assert!(!mended.damaged.is_empty());
            }
        }
    }

    #[test]
    fn a_lost_tick_has_its_number_and_counts_nothing() {
        let spoilt = text(4..=6).replace("\"r5\"", "\"r9\"");
        let mended = read(spoilt.as_bytes(), 4).mended(4, 6).unwrap();
        let again = read(mended.text.as_bytes(), 4);
        let lost = &again.good[&5];
        assert_eq!((lost.kind.as_str(), lost.quantity, lost.when), (LOST, 0, again.good[&4].when));
        assert_eq!((mended.lost, mended.damaged.len()), (vec![5], 1));
    }

    #[test]
    fn a_damaged_line_is_not_believed_about_numbers_it_has_no_room_for() {
        let spoilt = format!("v1 99999999999 {}\n", "x".repeat(50));
        assert_eq!(read(spoilt.as_bytes(), 4).reach, 4);
    }
}
