//! Usage ticks, in append-only files of their own: a broken meter never breaks the work, so it shares nothing with the database.
//!
//! `ticks-FIRST.log` holds the lines from number FIRST on; a file that is large enough is followed by the next. `acknowledged` holds the
//! number through which the other side has confirmed; files below it are deleted. [`Spool::append`] returns after fsync.
//!
//! Numbers: a tick's number is stable from the moment its append is confirmed. A last line without its line feed was never confirmed (line
//! and line feed are one write, and fsync comes after it); it is cut at opening and its number is used again. A whole line whose checksum
//! is wrong was damaged later; it is left out and counted, and its number is not used again.
//!
//! One process opens a spool, the agent.

mod line;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::bytes::{Encoding, to_hex};

pub use line::{LONGEST, NewTick, Tick, TickError, parse_tick, write_tick};

const ACKNOWLEDGED: &str = "acknowledged";

/// How large a spool may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A file of this size is followed by the next.
    pub segment: u64,
    /// No more than this altogether.
    pub total: u64,
}

impl Default for Limits {
    /// 64 MB are some 300,000 ticks: years without a connection.
    fn default() -> Self {
        Self { segment: 256 * 1024, total: 64 * 1024 * 1024 }
    }
}

/// The meter is broken. The work goes on; whoever appends may note this and forget it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The disk.
    #[error("the usage spool cannot {doing} {}: {source}; the work goes on, check the state partition", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// File.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// As large as it may be.
    #[error(
        "the usage spool is full ({bytes} bytes); the work goes on uncounted, make the usage report reach its endpoint"
    )]
    Full {
        /// Its size.
        bytes: u64,
    },
    /// A tick that cannot be written.
    #[error("a usage tick cannot be written: {0}")]
    Tick(#[from] TickError),
    /// A number that was never handed out.
    #[error("usage ticks were acknowledged through {through}, but only {last} exist; check the usage endpoint")]
    Unknown {
        /// Acknowledged.
        through: u64,
        /// Handed out.
        last: u64,
    },
}

#[derive(Debug)]
struct Segment {
    first: u64,
    /// Bytes that are confirmed.
    length: u64,
}

/// An open spool.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    limits: Limits,
    /// In order; the last one is appended to.
    segments: Vec<Segment>,
    open: Option<File>,
    /// Something that was not confirmed may lie behind the confirmed length of the last file.
    unclean: bool,
    last: u64,
    acknowledged: u64,
    damaged: u64,
}

impl Spool {
    /// Opens or makes the spool in `dir`, and cuts what was never confirmed.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, SpoolError> {
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
        let mut spool = Self {
            dir: dir.to_owned(),
            limits,
            segments: Vec::new(),
            open: None,
            unclean: false,
            last: 0,
            acknowledged: read_acknowledged(&dir.join(ACKNOWLEDGED))?,
            damaged: 0,
        };
        let mut firsts = Vec::new();
        for found in fs::read_dir(dir).map_err(failed("list", dir))? {
            let name = found.map_err(failed("list", dir))?.file_name();
            let number = name.to_str().and_then(|it| it.strip_prefix("ticks-")?.strip_suffix(".log"));
            // Only names as they are written here; somebody's copy beside them is not read.
            firsts.extend(number.and_then(|it| it.parse().ok()).filter(|first| spool.path(*first) == dir.join(&name)));
        }
        firsts.sort_unstable();
        for first in firsts {
            spool.scan(first)?;
        }
        spool.last = spool.last.max(spool.acknowledged);
        spool.drop_acknowledged()?;
        Ok(spool)
    }

    /// Appends a tick and gives its number; on the disk when this returns.
    ///
    /// # Errors
    /// [`SpoolError`]; nothing was counted then.
    pub fn append(&mut self, tick: NewTick) -> Result<u64, SpoolError> {
        let tick = Tick { client_seq: self.last + 1, tick };
        let line = write_tick(&tick)?;
        let length = line.len() as u64;
        let bytes = self.bytes();
        if bytes + length > self.limits.total {
            return Err(SpoolError::Full { bytes });
        }
        self.clean()?;
        let fits = self.segments.last().is_some_and(|segment| segment.length + length <= self.limits.segment);
        if !fits {
            self.begin_segment(tick.client_seq)?;
        }
        let (path, file) = self.current()?;
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
        if let Err(source) = written {
            self.unclean = true;
            // What was written of it is taken away at once when that is possible, else before the next one.
            if let Err(error) = self.clean() {
                tracing::warn!(%error, "a piece of a usage tick stays for now");
            }
            return Err(SpoolError::Io { doing: "write", path, source });
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.length += length;
        }
        self.last = tick.client_seq;
        Ok(tick.client_seq)
    }

    /// The oldest ticks that are not acknowledged, at most `limit`.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn pending(&self, limit: usize) -> Result<Vec<Tick>, SpoolError> {
        let mut batch = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map_or(self.last + 1, |next| next.first);
            if next <= self.acknowledged + 1 {
                continue;
            }
            let path = self.path(segment.first);
            let file = File::open(&path).map_err(failed("read", &path))?;
            let mut reader = BufReader::new(file.take(segment.length));
            while let Some(line) = next_line(&mut reader).map_err(failed("read", &path))? {
                if batch.len() >= limit {
                    return Ok(batch);
                }
                batch.extend(parse_tick(&line.bytes).ok().filter(|tick| tick.client_seq > self.acknowledged));
            }
        }
        Ok(batch)
    }

    /// Notes durably that the other side has everything through this number, then deletes the files that are not needed any more. A
    /// smaller number than before changes nothing.
    ///
    /// # Errors
    /// [`SpoolError::Unknown`], [`SpoolError::Io`].
    pub fn acknowledge(&mut self, through: u64) -> Result<(), SpoolError> {
        if through > self.last {
            return Err(SpoolError::Unknown { through, last: self.last });
        }
        if through <= self.acknowledged {
            return Ok(());
        }
        let path = self.dir.join(ACKNOWLEDGED);
        write_acknowledged(&path, through).map_err(failed("write", &path))?;
        self.acknowledged = through;
        self.drop_acknowledged()
    }

    /// Number of the last tick.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Number through which everything is acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Lines that were damaged after they were confirmed, as met at opening.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Size of the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("ticks-{first:020}.log"))
    }

    /// Reads a file once: its length without a torn end, and the number it goes to.
    fn scan(&mut self, first: u64) -> Result<(), SpoolError> {
        let path = self.path(first);
        let file = File::open(&path).map_err(failed("read", &path))?;
        let size = file.metadata().map_err(failed("read", &path))?.len();
        let mut reader = BufReader::new(file);
        let mut length = 0;
        self.last = self.last.max(first.saturating_sub(1));
        while let Some(line) = next_line(&mut reader).map_err(failed("read", &path))? {
            if !line.whole {
                break;
            }
            length += line.length;
            match parse_tick(&line.bytes) {
                Ok(tick) => self.last = self.last.max(tick.client_seq),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a line of the usage spool is damaged");
                    (self.damaged, self.last) = (self.damaged + 1, self.last + 1);
                }
            }
        }
        if length < size {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
            file.set_len(length).and_then(|()| file.sync_all()).map_err(failed("cut", &path))?;
        }
        self.segments.push(Segment { first, length });
        Ok(())
    }

    fn begin_segment(&mut self, first: u64) -> Result<(), SpoolError> {
        // A file of this name is there when it was begun and nothing in it was confirmed.
        if self.segments.last().is_none_or(|segment| segment.first != first) {
            let path = self.path(first);
            let made = OpenOptions::new().create(true).append(true).open(&path).map_err(failed("make", &path))?;
            made.set_len(0).and_then(|()| sync_dir(&self.dir)).map_err(failed("make", &path))?;
            self.segments.push(Segment { first, length: 0 });
            self.open = Some(made);
        }
        Ok(())
    }

    fn current(&mut self) -> Result<(PathBuf, &mut File), SpoolError> {
        let first = self.segments.last().map_or(1, |segment| segment.first);
        let path = self.path(first);
        if self.open.is_none() {
            self.open = Some(OpenOptions::new().append(true).open(&path).map_err(failed("open", &path))?);
        }
        match &mut self.open {
            Some(file) => Ok((path, file)),
            None => Err(SpoolError::Io { doing: "open", path, source: io::ErrorKind::NotFound.into() }),
        }
    }

    /// Cuts what lies behind the confirmed length.
    fn clean(&mut self) -> Result<(), SpoolError> {
        if !self.unclean {
            return Ok(());
        }
        let length = self.segments.last().map_or(0, |segment| segment.length);
        let (path, file) = self.current()?;
        file.set_len(length)
            .and_then(|()| file.seek(SeekFrom::End(0)).map(|_end| ()))
            .and_then(|()| file.sync_all())
            .map_err(failed("cut", &path))?;
        self.unclean = false;
        Ok(())
    }

    fn drop_acknowledged(&mut self) -> Result<(), SpoolError> {
        let acknowledged = self.acknowledged;
        // The last file stays to be appended to; it is dropped when it has a successor.
        let needless = self.segments.windows(2).take_while(|pair| pair[1].first <= acknowledged + 1).count();
        for segment in self.segments.drain(..needless).collect::<Vec<_>>() {
            let path = self.path(segment.first);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("delete", &path)(error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

struct ReadLine {
    /// Without the line feed, and cut when it is longer than a line can be.
    bytes: Vec<u8>,
    length: u64,
    whole: bool,
}

/// The next line in bounded memory, however long it is.
fn next_line(reader: &mut impl io::BufRead) -> io::Result<Option<ReadLine>> {
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

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { doing, path, source }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn acknowledged_line(through: u64) -> String {
    let sum = to_hex(&Encoding::of("tbi-tick-acknowledged-v1").number(through).hash().0[..8]);
    format!("v1 {through} {sum}\n")
}

fn write_acknowledged(path: &Path, through: u64) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(acknowledged_line(through).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// A file that cannot be read as one counts as nothing acknowledged: what is sent again is rejected by its number on the other side.
fn read_acknowledged(path: &Path) -> Result<u64, SpoolError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(256).read_to_string(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(failed("read", path)(error)),
        Ok(_) | Err(_) => {}
    }
    let through = text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    if acknowledged_line(through) == text {
        return Ok(through);
    }
    tracing::warn!(path = %path.display(), "the acknowledgement of the usage spool is damaged; ticks are sent again");
    Ok(0)
}
