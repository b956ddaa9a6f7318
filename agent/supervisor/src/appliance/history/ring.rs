//! The file of the history: a header, then a fixed number of records of a fixed size, overwritten in turn. It is made whole, so that a disk
//! that fills up later does not stop it. Each record has a number and a checksum; what does not fit its checksum is not there. The largest
//! number is the newest record, whatever the clock said when it was written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use tbi_daemon::{Access, ReplaceError, replace_file};

use super::sample::Sample;

/// Bytes of the header and of a record.
const SIZE: usize = 64;
/// Bytes of a record that its checksum covers.
const COVERED: usize = SIZE - 4;
/// Bytes that are read and written at once.
const PIECE: usize = 64 * SIZE;
/// First bytes of the file; the last digit is the version of the format.
const MAGIC: &[u8; 8] = b"TBIHIST1";
/// No file of ours has more records; what says so is not ours.
const MOST: u32 = 1 << 20;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RingError {
    /// The system.
    #[error(
        "the history in {} cannot be read or written ({source}); check the state partition, its health says what is wrong",
        path.display()
    )]
    Io { path: PathBuf, source: io::Error },
    /// Making it.
    #[error("the history cannot be begun: {0}")]
    Make(#[from] ReplaceError),
    /// Not one of ours.
    #[error("{} is not a history of this version; the agent begins another one with its next start", .0.display())]
    Foreign(PathBuf),
}

/// The file, open for one writer.
#[derive(Debug)]
pub(crate) struct Ring {
    path: PathBuf,
    file: File,
    records: u32,
    next: u64,
}

impl Ring {
    /// Opens the file, or makes it. What is no history is set aside beside it.
    pub(crate) fn open(path: &Path, records: u32) -> Result<Self, RingError> {
        let failed = |source| RingError::Io { path: path.to_owned(), source };
        let mut newest = 0;
        match each(path, |number, _sample| newest = newest.max(number)) {
            Ok(of) if of == records => {}
            Ok(_) | Err(RingError::Foreign(_)) => {
                let aside = path.with_extension("set-aside");
                fs::rename(path, &aside).map_err(failed)?;
                tracing::warn!(path = %aside.display(), "the history is of another kind and was set aside");
                newest = 0;
                replace_file(path, &header(records), Access::Owner)?;
            }
            Err(RingError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                replace_file(path, &header(records), Access::Owner)?;
            }
            Err(error) => return Err(error),
        }
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        fill(&file, whole(records)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, records, next: newest + 1 })
    }

    /// Writes the next record in the place of the oldest one.
    pub(crate) fn push(&mut self, sample: &Sample) -> Result<(), RingError> {
        let place = (self.next - 1) % u64::from(self.records) + 1;
        let written = self.file.write_all_at(&encode(self.next, sample), place * SIZE as u64);
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|source| RingError::Io { path: self.path.clone(), source })?;
        self.next += 1;
        Ok(())
    }
}

fn whole(records: u32) -> u64 {
    (u64::from(records) + 1) * SIZE as u64
}

/// Writes zeros from where the file ends: when it is new, and when somebody or a mended file system cut it short. With all its blocks there,
/// no disk that fills up later stops it.
fn fill(file: &File, whole: u64) -> io::Result<()> {
    let mut end = file.metadata()?.len();
    if end >= whole {
        return Ok(());
    }
    let zeros = [0; PIECE];
    while end < whole {
        let piece = usize::try_from(whole - end).unwrap_or(PIECE).min(PIECE);
        file.write_all_at(&zeros[..piece], end)?;
        end += piece as u64;
    }
    file.sync_all()
}

/// Gives every record that is whole, as they lie, and how many there may be. Piece by piece: the agent is small, and the file is not.
pub(crate) fn each(path: &Path, mut take: impl FnMut(u64, Sample)) -> Result<u32, RingError> {
    let failed = |source| RingError::Io { path: path.to_owned(), source };
    let mut file = BufReader::with_capacity(PIECE, File::open(path).map_err(failed)?);
    let mut next = || {
        let mut bytes = [0; SIZE];
        match file.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(source) => Err(RingError::Io { path: path.to_owned(), source }),
        }
    };
    let foreign = || RingError::Foreign(path.to_owned());
    let head = next()?.ok_or_else(foreign)?;
    let records = head[8..12].try_into().map(u32::from_le_bytes).map_err(|_no_word| foreign())?;
    if !(1..=MOST).contains(&records) || head != header(records) {
        return Err(foreign());
    }
    for _ in 0..records {
        let Some(bytes) = next()? else { break };
        if let Some((number, sample)) = decode(bytes) {
            take(number, sample);
        }
    }
    Ok(records)
}

fn header(records: u32) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&records.to_le_bytes());
    sealed(bytes)
}

fn sealed(mut bytes: [u8; SIZE]) -> [u8; SIZE] {
    let sum = digest::digest(&digest::SHA256, &bytes[..COVERED]);
    bytes[COVERED..].copy_from_slice(&sum.as_ref()[..SIZE - COVERED]);
    bytes
}

fn encode(number: u64, sample: &Sample) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..16].copy_from_slice(&sample.at.to_le_bytes());
    for (place, value) in values(sample).into_iter().enumerate() {
        // Absent is not a number.
        let at = 16 + place * 4;
        bytes[at..at + 4].copy_from_slice(&value.unwrap_or(f32::NAN).to_le_bytes());
    }
    bytes[44..52].copy_from_slice(&sample.memory_bytes.unwrap_or(u64::MAX).to_le_bytes());
    bytes[52] = u8::from(sample.run);
    sealed(bytes)
}

fn values(sample: &Sample) -> [Option<f32>; 7] {
    [
        sample.cpu_percent,
        sample.temperature_celsius,
        sample.management_rx,
        sample.management_tx,
        sample.trunk_rx,
        sample.trunk_tx,
        None,
    ]
}

fn decode(bytes: [u8; SIZE]) -> Option<(u64, Sample)> {
    let number = u64::from_le_bytes(bytes[..8].try_into().ok()?);
    if number == 0 || sealed(bytes) != bytes {
        return None;
    }
    let value = |place: usize| {
        let at = 16 + place * 4;
        let value = f32::from_le_bytes(bytes[at..at + 4].try_into().ok()?);
        value.is_finite().then_some(value)
    };
    let memory = u64::from_le_bytes(bytes[44..52].try_into().ok()?);
    let sample = Sample {
        at: i64::from_le_bytes(bytes[8..16].try_into().ok()?),
        cpu_percent: value(0),
        temperature_celsius: value(1),
        management_rx: value(2),
        management_tx: value(3),
        trunk_rx: value(4),
        trunk_tx: value(5),
        memory_bytes: (memory != u64::MAX).then_some(memory),
        run: bytes[52] == 1,
    };
    Some((number, sample))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn sample(at: i64) -> Sample {
        Sample { at, cpu_percent: Some(50.0), memory_bytes: Some(1 << 30), run: at % 2 == 0, ..Sample::default() }
    }

    /// In the order in which they were written.
    fn samples(path: &Path) -> Result<Vec<Sample>, RingError> {
        let mut found = Vec::new();
        each(path, |number, sample| found.push((number, sample)))?;
        found.sort_unstable_by_key(|(number, _)| *number);
        Ok(found.into_iter().map(|(_, sample)| sample).collect())
    }

    fn times(path: &Path) -> Vec<i64> {
        samples(path).unwrap().iter().map(|sample| sample.at).collect()
    }

    fn filled(records: u32, count: i64) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.ring");
        let mut ring = Ring::open(&path, records).unwrap();
        for at in 0..count {
            ring.push(&sample(at)).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let (_dir, path) = filled(4, 0);
        let whole = Sample {
            at: -7,
            cpu_percent: Some(0.5),
            memory_bytes: Some(7),
            temperature_celsius: Some(-3.5),
            management_rx: Some(1.0e9),
            management_tx: Some(0.0),
            trunk_rx: None,
            trunk_tx: Some(25.0e9),
            run: true,
        };
        let mut ring = Ring::open(&path, 4).unwrap();
        ring.push(&whole).unwrap();
        ring.push(&Sample::default()).unwrap();
        assert_eq!(samples(&path).unwrap(), [whole, Sample::default()]);
    }

    #[test]
    fn the_file_never_grows_and_the_oldest_records_go() {
        let (_dir, path) = filled(10, 3);
        let size = fs::metadata(&path).unwrap().len();
        assert_eq!(times(&path), [0, 1, 2]);
        let mut ring = Ring::open(&path, 10).unwrap();
        for at in 3..38 {
            ring.push(&sample(at)).unwrap();
        }
        assert_eq!(times(&path), (28..38).collect::<Vec<_>>());
        assert_eq!((fs::metadata(&path).unwrap().len(), size), (11 * 64, 11 * 64));
    }

    #[test]
    fn a_power_cut_within_a_record_costs_that_record_and_no_other() {
        let (_dir, path) = filled(5, 8);
        // The newest one (number 8, third place), torn at every byte: the old rest of the place is behind it.
        let whole = fs::read(&path).unwrap();
        for cut in 1..SIZE {
            let mut torn = whole.clone();
            torn[3 * SIZE + cut..4 * SIZE].fill(0xa5);
            fs::write(&path, &torn).unwrap();
            assert_eq!(times(&path), [3, 4, 5, 6], "cut at {cut}");
        }
        let mut ring = Ring::open(&path, 5).unwrap();
        ring.push(&sample(100)).unwrap();
        assert_eq!(times(&path), [3, 4, 5, 6, 100], "the place is written again");
    }

    #[test]
    fn a_file_that_was_cut_short_is_made_whole() {
        let (_dir, path) = filled(5, 5);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(3 * 64 + 7).unwrap();
        let mut ring = Ring::open(&path, 5).unwrap();
        assert_eq!(times(&path), [0, 1]);
        ring.push(&sample(9)).unwrap();
        assert_eq!((times(&path), fs::metadata(&path).unwrap().len()), (vec![0, 1, 9], 6 * 64));
    }

    #[test]
    fn what_is_no_history_is_set_aside_and_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.ring");
        for foreign in [&b""[..], b"TBIHIST1", &[0xff; 500], b"#!/bin/sh\n"] {
            fs::write(&path, foreign).unwrap();
            assert!(matches!(samples(&path), Err(RingError::Foreign(_))));
            Ring::open(&path, 3).unwrap().push(&sample(1)).unwrap();
            assert_eq!(times(&path), [1]);
            assert_eq!(fs::read(path.with_extension("set-aside")).unwrap(), foreign);
        }
    }

    #[test]
    fn a_clock_that_jumps_orders_nothing_anew() {
        let (_dir, path) = filled(4, 0);
        let mut ring = Ring::open(&path, 4).unwrap();
        for at in [1000, 4_000_000_000, 900, 0, i64::MAX, 1060] {
            ring.push(&sample(at)).unwrap();
            // As a restart would find it.
            ring = Ring::open(&path, 4).unwrap();
        }
        assert_eq!(times(&path), [900, 0, i64::MAX, 1060]);
    }
}
