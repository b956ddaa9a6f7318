//! Writing a disk and reading it back. The target is a trait, so that faults of media can be tried without breaking any.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::command::say;
use crate::image::digest::hex;

/// Bytes in one go: a multiple of every erase block.
const CHUNK: usize = 4 << 20;
/// What direct reads must be aligned to.
const ALIGNMENT: usize = 4096;
/// How often progress is said.
const PAUSE: Duration = Duration::from_secs(2);

/// Something to write an image to.
pub(super) trait Target {
    /// Writes some of the bytes at the present place.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Returns when everything is on the medium.
    fn sync(&mut self) -> io::Result<()>;
    /// Reads the medium from its beginning, not what memory remembers of it.
    fn reread(&mut self) -> io::Result<Box<dyn Read + '_>>;
}

/// What can go wrong with a medium.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read the image; nothing more was written")]
    Image(#[source] io::Error),
    #[error("the image ended after {got} of {length} bytes; build it again")]
    ImageShort { got: u64, length: u64 },
    #[error(
        "the disk took {at} of {length} bytes and then failed; was it pulled out? What is on it now is useless; try again, or another one"
    )]
    Write {
        at: u64,
        length: u64,
        #[source]
        source: io::Error,
    },
    #[error(
        "the disk took {at} of {length} bytes and then no more; was it pulled out? What is on it now is useless; try again, or another one"
    )]
    WriteShort { at: u64, length: u64 },
    #[error("the disk did not confirm that it holds the data; try again, or another one")]
    Sync(#[source] io::Error),
    #[error("the disk cannot be read back; try again, or another one")]
    Read(#[source] io::Error),
    #[error("the disk gave back only {got} of {length} bytes; it is smaller than it says. Use another one")]
    ReadShort { got: u64, length: u64 },
    #[error(
        "what was read back is not what was written (SHA-256 {read} instead of {written}); the disk is broken or smaller than it says. Use another one"
    )]
    Differs { written: String, read: String },
}

/// Writes `length` bytes and returns their SHA-256.
pub(super) fn write(
    mut image: impl Read,
    length: u64,
    target: &mut impl Target,
    progress: &mut impl FnMut(u64),
) -> Result<String, Error> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        let want = usize::try_from(length - at).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = buffer.get_mut(..want).unwrap_or_default();
        let got = fill(&mut image, chunk).map_err(Error::Image)?;
        if got < want {
            return Err(Error::ImageShort { got: at + got as u64, length });
        }
        hash.update(&*chunk);
        while !chunk.is_empty() {
            match target.write(chunk) {
                Ok(0) => return Err(Error::WriteShort { at, length }),
                Ok(count) => {
                    at += count as u64;
                    chunk = chunk.get_mut(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Write { at, length, source }),
            }
        }
        progress(at);
    }
    target.sync().map_err(Error::Sync)?;
    Ok(hex(&hash.finalize()))
}

/// Reads `length` bytes back; an error unless they are those with the hash `written`.
pub(super) fn verify(
    written: &str,
    length: u64,
    target: &mut impl Target,
    progress: &mut impl FnMut(u64),
) -> Result<(), Error> {
    let mut reader = target.reread().map_err(Error::Read)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        let got = fill(&mut reader, &mut buffer).map_err(Error::Read)?;
        let ours = usize::try_from(length - at).unwrap_or(got).min(got);
        if ours == 0 {
            return Err(Error::ReadShort { got: at, length });
        }
        hash.update(buffer.get(..ours).unwrap_or_default());
        at += ours as u64;
        progress(at);
    }
    let read = hex(&hash.finalize());
    if read != written {
        return Err(Error::Differs { written: written.to_owned(), read });
    }
    Ok(())
}

/// Reads until the buffer is full or there is no more.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Says every few seconds how far it is.
pub(super) fn progress(what: &'static str, length: u64) -> impl FnMut(u64) {
    let started = Instant::now();
    let mut said = started;
    move |at| {
        if said.elapsed() >= PAUSE || at == length {
            said = Instant::now();
            let percent = at * 100 / length.max(1);
            let rate = u128::from(at) / started.elapsed().as_millis().max(1) / 1000;
            say(&format!("  {percent:>3} % {what}, {rate} MB/s"));
        }
    }
}

/// Reads a file opened for direct reads: through a buffer whose place in memory the kernel accepts.
pub(super) struct Aligned {
    file: File,
    buffer: Vec<u8>,
    start: usize,
    /// Bytes of the buffer not yet given out.
    ready: std::ops::Range<usize>,
}

impl Aligned {
    pub(super) fn new(file: File) -> Self {
        let buffer = vec![0; CHUNK + ALIGNMENT];
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        Self { file, buffer, start, ready: 0..0 }
    }
}

impl Read for Aligned {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            let space = self.buffer.get_mut(self.start..).and_then(|rest| rest.get_mut(..CHUNK)).unwrap_or_default();
            let count = self.file.read(space)?;
            self.ready = self.start..self.start + count;
        }
        let bytes = self.buffer.get(self.ready.clone()).unwrap_or_default();
        let count = bytes.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.ready.start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::image::digest::of_bytes;

    /// A medium in memory that breaks where it is told to.
    #[derive(Default)]
    struct Medium {
        bytes: Vec<u8>,
        /// Takes so many bytes, then fails or takes no more.
        pulled_at: Option<(usize, Pulled)>,
        /// This byte is another one when read back.
        lies_at: Option<usize>,
        /// Holds only so many bytes.
        really_holds: Option<usize>,
        synced: bool,
    }

    #[derive(Clone, Copy)]
    enum Pulled {
        Error,
        ShortWrite,
    }

    impl Target for Medium {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Small bites: nobody promises to take everything at once.
            let mut count = bytes.len().min(1_000_000);
            if let Some((place, how)) = self.pulled_at {
                count = count.min(place - self.bytes.len());
                match how {
                    Pulled::Error if count == 0 => return Err(io::Error::from_raw_os_error(5)),
                    _ => {}
                }
            }
            self.bytes.extend(&bytes[..count]);
            Ok(count)
        }

        fn sync(&mut self) -> io::Result<()> {
            self.synced = true;
            Ok(())
        }

        fn reread(&mut self) -> io::Result<Box<dyn Read + '_>> {
            assert!(self.synced, "read back before everything is on the medium");
            if let Some(place) = self.lies_at {
                self.bytes[place] ^= 1;
            }
            Ok(Box::new(&self.bytes[..self.really_holds.unwrap_or(self.bytes.len())]))
        }
    }

    fn image() -> Vec<u8> {
        (0..CHUNK + 12_345).map(|number| u8::try_from(number % 251).unwrap()).collect()
    }

    fn flash(target: &mut Medium) -> Result<String, Error> {
        let image = image();
        let length = image.len() as u64;
        let sum = write(&image[..], length, target, &mut |_| {})?;
        verify(&sum, length, target, &mut |_| {})?;
        Ok(sum)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut medium = Medium::default();
        assert_eq!(flash(&mut medium).unwrap(), of_bytes(&image()));
        assert_eq!(medium.bytes, image());
    }

    #[test]
    fn a_larger_disks_rest_is_not_compared() {
        let mut medium = Medium::default();
        let image = image();
        let sum = write(&image[..], image.len() as u64, &mut medium, &mut |_| {}).unwrap();
        medium.bytes.extend([7; 100_000]);
        verify(&sum, image.len() as u64, &mut medium, &mut |_| {}).unwrap();
    }

    #[test]
    fn fault_read_back_differs() {
        let mut medium = Medium { lies_at: Some(CHUNK + 1), ..Medium::default() };
        assert!(matches!(flash(&mut medium), Err(Error::Differs { .. })));
    }

    #[test]
    fn fault_pulled_while_writing() {
        let mut medium = Medium { pulled_at: Some((CHUNK - 7, Pulled::Error)), ..Medium::default() };
        let error = flash(&mut medium).unwrap_err();
        assert!(matches!(error, Error::Write { at, .. } if at == (CHUNK - 7) as u64), "{error}");
        assert!(!medium.synced);
    }

    #[test]
    fn fault_short_write() {
        let mut medium = Medium { pulled_at: Some((CHUNK - 7, Pulled::ShortWrite)), ..Medium::default() };
        assert!(matches!(flash(&mut medium), Err(Error::WriteShort { at, .. }) if at == (CHUNK - 7) as u64));
    }

    #[test]
    fn fault_smaller_than_it_says() {
        let mut medium = Medium { really_holds: Some(CHUNK), ..Medium::default() };
        assert!(matches!(flash(&mut medium), Err(Error::ReadShort { .. })));
    }

    #[test]
    fn fault_image_ends_early() {
        let mut medium = Medium::default();
        let error = write(&image()[..], image().len() as u64 + 1, &mut medium, &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::ImageShort { .. }));
    }

    #[test]
    fn aligned_reads_give_the_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("image");
        std::fs::write(&path, image()).unwrap();
        let mut read = Vec::new();
        Aligned::new(File::open(&path).unwrap()).read_to_end(&mut read).unwrap();
        assert_eq!(read, image());
    }
}
