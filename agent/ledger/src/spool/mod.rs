//! Usage ticks, in append-only files of their own: a broken meter never breaks the work, so it shares nothing with the database.
//!
//! `ticks-FIRST.log` holds the lines from number FIRST on; a file that is large enough is followed by the next. `acknowledged` holds the
//! number through which the other side has confirmed; files below it are deleted. [`Spool::append`] returns after fsync.
//!
//! Numbers: a tick's number is stable from the moment its append is confirmed. A last line without its line feed was never confirmed (line
//! and line feed are one write, and fsync comes after it); it is cut at opening and its number is used again. A whole line that cannot be
//! read was damaged later: it is set aside in `damaged.log`, and a tick of the kind [`LOST`] takes its number for good, so that numbers have
//! no gap and nobody waits for one that cannot come. The same happens to what a missing file had.
//!
//! One process opens a spool, the agent.

mod acknowledged;
mod line;
mod segment;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use segment::Content;

pub use line::{LONGEST, NewTick, Tick, TickError, parse_tick, write_tick};
pub use segment::LOST;

const ACKNOWLEDGED: &str = "acknowledged";
const DAMAGED: &str = "damaged.log";
/// As much of damaged lines is kept; a disk that damages more needs no more proof.
const MOST_DAMAGED: u64 = 1024 * 1024;
/// Fewer bytes than any tick has: no more ticks can ever have been in a spool than this goes into its size.
const LEAST_TICK: u64 = 64;

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
    /// More numbers are missing than there can have been ticks.
    #[error(
        "the usage spool lacks ticks {from} to {to}, more than it can have held; the work goes on uncounted, look for strange files named \
         ticks-*.log in {}", dir.display()
    )]
    Gap {
        /// First that is missing.
        from: u64,
        /// Last that is missing.
        to: u64,
        /// Directory.
        dir: PathBuf,
    },
    /// Read back, it is damaged again.
    #[error("the file {} of the usage spool is damaged again and again; the work goes on, check the disk", path.display())]
    Damaged {
        /// File.
        path: PathBuf,
    },
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
    /// Numbers of lost ticks that are not acknowledged.
    lost: BTreeSet<u64>,
    /// Lines in the file of damaged ones.
    set_aside: u64,
}

impl Spool {
    /// Opens or makes the spool in `dir`, cuts what was never confirmed, and mends what was damaged.
    ///
    /// # Errors
    /// [`SpoolError::Io`], [`SpoolError::Gap`].
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, SpoolError> {
        fs::create_dir_all(dir).map_err(failed("make", dir))?;
        let through = acknowledged::read(&dir.join(ACKNOWLEDGED)).map_err(failed("read", &dir.join(ACKNOWLEDGED)))?;
        let mut spool = Self {
            dir: dir.to_owned(),
            limits,
            segments: Vec::new(),
            open: None,
            unclean: false,
            last: 0,
            acknowledged: through.unwrap_or(0),
            lost: BTreeSet::new(),
            set_aside: lines_in(&dir.join(DAMAGED))?.len() as u64,
        };
        let mut firsts = Vec::new();
        for found in fs::read_dir(dir).map_err(failed("list", dir))? {
            let name = found.map_err(failed("list", dir))?.file_name();
            let number = name.to_str().and_then(|it| it.strip_prefix("ticks-")?.strip_suffix(".log"));
            // Only names as they are written here; somebody's copy beside them is not read.
            firsts.extend(number.and_then(|it| it.parse().ok()).filter(|first| spool.path(*first) == dir.join(&name)));
        }
        firsts.sort_unstable();
        // Files go in order and only when they are acknowledged, so an acknowledgement that cannot be read was of what is gone, at least.
        spool.acknowledged = through.or_else(|| firsts.first().map(|first: &u64| first.saturating_sub(1))).unwrap_or(0);
        spool.last = spool.acknowledged;
        if let Some(first) = firsts.first().copied().filter(|first| *first > spool.acknowledged + 1) {
            // The file that had the next number is missing.
            let gone = spool.acknowledged + 1;
            spool.segments.push(Segment { first: gone, length: 0 });
            spool.mend(0, Content::default(), first - 1)?;
        }
        for (at, first) in firsts.iter().enumerate() {
            spool.scan(*first, firsts.get(at + 1).copied())?;
        }
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

    /// The oldest ticks that are not acknowledged, at most `limit`, without a gap: what was damaged meanwhile is mended first.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn pending(&mut self, limit: usize) -> Result<Vec<Tick>, SpoolError> {
        let mut batch = Vec::new();
        for at in 0..self.segments.len() {
            let (first, end) = (self.segments[at].first, self.end_of(at));
            let from = first.max(self.acknowledged + 1);
            if end < from {
                continue;
            }
            let mut content = self.read(at)?;
            if content.lacks(from, end) {
                self.mend(at, content, end)?;
                content = self.read(at)?;
                if content.lacks(from, end) {
                    return Err(SpoolError::Damaged { path: self.path(first) });
                }
            }
            let ticks = content.good.into_iter().filter(|(number, _)| (from..=end).contains(number));
            batch.extend(ticks.map(|(client_seq, tick)| Tick { client_seq, tick }).take(limit - batch.len()));
            if batch.len() == limit {
                break;
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
        acknowledged::write(&path, through).map_err(failed("write", &path))?;
        self.acknowledged = through;
        self.lost = self.lost.split_off(&(through + 1));
        self.drop_acknowledged()
    }

    /// The last tick that can be read; it stays when it is acknowledged.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn newest(&self) -> Result<Option<Tick>, SpoolError> {
        // The file of a tick that was begun and not written is empty.
        for at in (0..self.segments.len()).rev() {
            let newest = self.read(at)?.good.pop_last();
            if let Some((client_seq, tick)) = newest {
                return Ok(Some(Tick { client_seq, tick }));
            }
        }
        Ok(None)
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

    /// Ticks that were damaged after they were confirmed, and of which the other side does not know yet.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.len() as u64
    }

    /// Damaged lines that were set aside since there is this spool.
    #[must_use]
    pub fn set_aside(&self) -> u64 {
        self.set_aside
    }

    /// Size of the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    fn path(&self, first: u64) -> PathBuf {
        self.dir.join(format!("ticks-{first:020}.log"))
    }

    /// Number of the last tick of a file.
    fn end_of(&self, at: usize) -> u64 {
        self.segments.get(at + 1).map_or(self.last, |next| next.first.saturating_sub(1))
    }

    /// What a file has, up to its confirmed length.
    fn read(&self, at: usize) -> Result<Content, SpoolError> {
        let Segment { first, length } = &self.segments[at];
        let path = self.path(*first);
        let file = File::open(&path).map_err(failed("read", &path))?;
        Content::read(&mut BufReader::new(file.take(*length)), *first).map_err(failed("read", &path))
    }

    /// Meets a file at opening: cuts what was never confirmed, and mends it. `next` is the first number of the file behind it.
    fn scan(&mut self, first: u64, next: Option<u64>) -> Result<(), SpoolError> {
        let path = self.path(first);
        let file = File::open(&path).map_err(failed("read", &path))?;
        let mut content = Content::read(&mut BufReader::new(file), first).map_err(failed("read", &path))?;
        let torn = std::mem::take(&mut content.torn);
        if !torn.is_empty() && next.is_some() {
            // The next file was begun when everything in this one was confirmed.
            content.damaged.push(torn);
        } else if !torn.is_empty() {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed("open", &path))?;
            file.set_len(content.length).and_then(|()| file.sync_all()).map_err(failed("cut", &path))?;
        }
        self.segments.push(Segment { first, length: content.length });
        let end = next.map_or(content.reach, |next| next.saturating_sub(1));
        self.last = self.last.max(end);
        let lost = content.good.iter().filter(|(number, tick)| tick.kind == LOST && **number > self.acknowledged);
        self.lost.extend(lost.map(|(number, _)| *number));
        if content.lacks(first.max(self.acknowledged + 1), end) {
            self.mend(self.segments.len() - 1, content, end)?;
        }
        Ok(())
    }

    /// Puts a file that has every number up to `end` in the place of one that lacks some; the damaged lines are set aside before.
    fn mend(&mut self, at: usize, content: Content, end: u64) -> Result<(), SpoolError> {
        let first = self.segments[at].first;
        if end.saturating_sub(first) > self.limits.total / LEAST_TICK {
            return Err(SpoolError::Gap { from: first, to: end, dir: self.dir.clone() });
        }
        let mended = content.mended(first, end)?;
        let path = self.path(first);
        tracing::warn!(path = %path.display(), lost = ?mended.lost, "ticks of the usage spool were damaged and are lost");
        self.keep_aside(&mended.damaged)?;
        let temporary = path.with_extension("new");
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(mended.text.as_bytes())?;
            file.sync_all()
        });
        written
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| sync_dir(&self.dir))
            .map_err(failed("mend", &path))?;
        self.segments[at].length = mended.text.len() as u64;
        let told = self.acknowledged;
        self.lost.extend(mended.lost.into_iter().filter(|number| *number > told));
        if at + 1 == self.segments.len() {
            // It was open under the name that another file has now.
            (self.open, self.unclean) = (None, false);
        }
        Ok(())
    }

    /// Keeps damaged lines for whoever looks for the cause. Those that are there already came from a mending that was cut off.
    fn keep_aside(&mut self, damaged: &[Vec<u8>]) -> Result<(), SpoolError> {
        let path = self.dir.join(DAMAGED);
        let known = lines_in(&path)?;
        let mut text: Vec<u8> = Vec::new();
        for line in damaged.iter().filter(|line| !known.contains(*line)) {
            text.extend_from_slice(line);
            text.push(b'\n');
            self.set_aside += 1;
        }
        let kept = fs::metadata(&path).map_or(0, |file| file.len());
        if text.is_empty() || kept + text.len() as u64 > MOST_DAMAGED {
            return Ok(());
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            sync_dir(&self.dir)
        })
        .map_err(failed("write", &path))
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

/// Lines of the file of damaged ones.
fn lines_in(path: &Path) -> Result<BTreeSet<Vec<u8>>, SpoolError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MOST_DAMAGED).read_to_end(&mut bytes)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("read", path)(error)),
        Ok(_) | Err(_) => {}
    }
    let lines =
        bytes.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec());
    Ok(lines.collect())
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { doing, path, source }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
