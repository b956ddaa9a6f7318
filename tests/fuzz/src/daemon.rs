//! Bodies of the fuzz targets for the parsers of `tbi-daemon`; see `bench.rs`.

use tbi_daemon::{Event, EventParser, EventsMalformed};

/// Name and body of a target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target here, by the name of its corpus folder.
pub const TARGETS: &[Target] = &[("daemon_events", events)];

/// The events of a stream do not depend on where it is cut: the first byte chooses the size of the pieces and is not input.
pub fn events(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else { return };
    let whole = parse(std::iter::once(stream));
    for pieces in [1, usize::from(size) + 2] {
        assert_eq!(whole, parse(stream.chunks(pieces)), "pieces of {pieces}");
    }
    for event in whole.iter().flatten() {
        assert!(!event.name.is_empty() && !event.name.contains(['\r', '\n']) && !event.id.contains(['\r', '\n', '\0']));
    }
}

fn parse<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Event>, EventsMalformed> {
    let mut parser = EventParser::default();
    pieces.try_fold(Vec::new(), |mut events, piece| {
        events.extend(parser.push(piece)?);
        Ok(events)
    })
}
