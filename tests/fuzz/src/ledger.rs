//! Bodies of the fuzz targets for what `tbi-ledger` reads; see `bench.rs`.

use std::io::BufReader;

use jiff::Timestamp;
use tbi_ledger::audit::{Line, parse_line, verify};
use tbi_ledger::licence::{Issuers, Standing, judge, judge_time, parse};
use tbi_ledger::spool::{LONGEST, NewTick, Tick, parse_tick, write_tick};

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[Target] = &[
    ("ledger_audit_line", audit_line),
    ("ledger_audit_export", audit_export),
    ("ledger_licence", licence),
    ("ledger_tick", tick),
];

/// A line of an export has one spelling, or is refused with a sentence.
pub fn audit_line(data: &[u8]) {
    match parse_line(data) {
        Ok(line) => assert_eq!(serde_json::to_vec(&line).expect("what was read can be written"), data),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// An export that is taken as genuine is one, looked at in another way: every line in its place, every hash of its entry, in one piece or
/// in many. (What only the key can do is out of a fuzzer's reach; what it finds here is a mistake in the order of things.)
pub fn audit_export(data: &[u8]) {
    let said = verify(data, None);
    assert_eq!(said, verify(BufReader::with_capacity(7, data), None), "it depends on how it is read");
    let verified = match said {
        Ok(verified) => verified,
        Err(finding) => return assert!(finding.line > 0 && !finding.sentence.is_empty()),
    };
    let text = data.strip_suffix(b"\n").expect("the last line is whole");
    let lines: Vec<Line> = text.split(|byte| *byte == b'\n').map(|line| parse_line(line).expect("a line")).collect();
    assert!(matches!((lines.first(), lines.last()), (Some(Line::Header(_)), Some(Line::End(_)))));
    let entries: Vec<_> =
        lines.iter().filter_map(|line| if let Line::Entry(entry) = line { Some(entry) } else { None }).collect();
    assert_eq!(verified.entries, entries.len() as u64);
    for entry in &entries {
        assert_eq!(entry.hash, entry.computed_hash());
    }
    for two in entries.windows(2) {
        assert_eq!((two[0].seq + 1, &two[0].hash), (two[1].seq, &two[1].previous));
    }
    // Nothing less and nothing more is genuine as well.
    assert!(verify(&data[..data.len() - 1], None).is_err());
    assert!(verify(&[data, b"\n"].concat()[..], None).is_err());
}

/// A licence that can be read is within its bounds and judged at any time, and one that nobody signed is never in force.
pub fn licence(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let nobody = Issuers::default();
    let ends_of_time = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX];
    match parse(text) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(judge(text, &nobody, Timestamp::UNIX_EPOCH, Timestamp::MIN), Standing::Unreadable);
        }
        Ok((document, envelope)) => {
            assert!(envelope.not_before < envelope.expires && (1..=1000).contains(&envelope.concurrency));
            let again = serde_json::to_string(&document).expect("what was read can be written");
            assert_eq!(parse(&again).as_ref(), Ok(&(document, envelope.clone())));
            for now in ends_of_time.into_iter().chain([envelope.not_before, envelope.expires]) {
                assert_eq!(judge(text, &nobody, now, Timestamp::MIN), Standing::UnknownIssuer);
                let standing = judge_time(&envelope, now, Timestamp::MIN);
                assert_eq!(standing == Standing::Valid, envelope.not_before <= now && now < envelope.expires);
                // A clock that was set back revives nothing.
                assert_eq!(judge_time(&envelope, Timestamp::MIN, now), standing);
            }
        }
    }
}

/// A tick is read as it was written, and not at all when a byte of its line is another. The first ten bytes are its number and the edit.
pub fn tick(data: &[u8]) {
    assert!(parse_tick(data).is_err() || data.starts_with(b"v1 "));
    let Some((numbers, json)) = data.split_at_checked(11) else { return };
    let Ok(tick) = serde_json::from_slice::<NewTick>(json) else { return };
    let client_seq = u64::from_be_bytes(std::array::from_fn(|place| numbers[place]));
    let tick = Tick { client_seq, tick };
    let Ok(line) = write_tick(&tick) else { return };
    let line = line.strip_suffix('\n').expect("a line feed").as_bytes();
    assert!(line.len() < LONGEST && !line.contains(&b'\n'));
    assert_eq!(parse_tick(line).as_ref(), Ok(&tick));
    let at = usize::from(u16::from_be_bytes([numbers[8], numbers[9]])) % line.len();
    let mut edited = line.to_vec();
    edited[at] = numbers[10];
    assert!(edited == line || parse_tick(&edited).is_err(), "byte {at} was edited");
    assert!(parse_tick(&line[..at]).is_err(), "cut at {at}");
}
