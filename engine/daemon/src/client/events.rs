//! Parser for server-sent events (WHATWG HTML, §9.2.6 "Interpreting an event stream"): bytes in pieces of any size go in, whole events
//! come out. Pure. Bounded: neither a line nor an event grows beyond [`EVENT_LIMIT`]. `retry` fields and comments are skipped.

/// Largest line and largest event data, bytes; a tick with all its histograms stays well below.
const EVENT_LIMIT: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its `event` field, `message` when it had none.
    pub name: String,
    /// The last `id` seen on the stream.
    pub id: String,
    /// Its `data` lines, joined by line feeds.
    pub data: String,
}

/// What came is no event stream, or one without measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventsMalformed {
    /// A line or an event is too long.
    #[error("a line or event of the stream is longer than {EVENT_LIMIT} bytes")]
    TooLong,
    /// A line is no UTF-8.
    #[error("a line of the event stream is not UTF-8")]
    NotUtf8,
}

/// State between two pieces.
#[derive(Debug, Default)]
pub struct EventParser {
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed that follows ends no other line.
    after_cr: bool,
    past_start: bool,
    name: String,
    id: String,
    data: String,
    has_data: bool,
}

impl EventParser {
    /// Takes the next piece and gives the events it completes.
    ///
    /// # Errors
    /// [`EventsMalformed`]; the parser is of no use afterwards.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, EventsMalformed> {
        let mut events = Vec::new();
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend_line(&bytes[..end])?;
            let was_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if was_cr {
                self.after_cr = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let line = std::mem::take(&mut self.line);
            events.extend(self.take_line(&line)?);
        }
        self.extend_line(bytes)?;
        Ok(events)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), EventsMalformed> {
        if self.line.len() + bytes.len() > EVENT_LIMIT {
            return Err(EventsMalformed::TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Event>, EventsMalformed> {
        let mut line = std::str::from_utf8(line).map_err(|_error| EventsMalformed::NotUtf8)?;
        if !self.past_start {
            self.past_start = true;
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "data" => {
                if self.data.len() + value.len() + 1 > EVENT_LIMIT {
                    return Err(EventsMalformed::TooLong);
                }
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        // An event without a data field is not dispatched (step 2 of "dispatch the event").
        std::mem::take(&mut self.has_data).then(|| Event {
            name: if name.is_empty() { "message".to_owned() } else { name },
            id: self.id.clone(),
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const STREAM: &[u8] =
        "\u{feff}: hello\r\nid: 1\r\nevent: tick\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n\n\nevent: lost\n\ndata:x\rdata\r\rid\nretry: 5\nevent:b\u{fc}\ndata: \n\nrest"
            .as_bytes();

    fn event(name: &str, id: &str, data: &str) -> Event {
        Event { name: name.to_owned(), id: id.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let expected = vec![event("tick", "1", "{\"a\":\n1}"), event("message", "1", "x\n"), event("b\u{fc}", "", "")];
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                let mut parser = EventParser::default();
                let mut events = Vec::new();
                for piece in [&STREAM[..first], &STREAM[first..second], &STREAM[second..]] {
                    events.extend(parser.push(piece).unwrap());
                }
                assert_eq!(events, expected, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn byte_by_byte_too() {
        let mut parser = EventParser::default();
        let count: usize = STREAM.iter().map(|byte| parser.push(&[*byte]).unwrap().len()).sum();
        assert_eq!(count, 3);
    }

    #[test]
    fn lines_and_events_are_bounded() {
        let mut parser = EventParser::default();
        assert_eq!(parser.push(&vec![b'x'; EVENT_LIMIT]), Ok(Vec::new()));
        assert_eq!(parser.push(b"x"), Err(EventsMalformed::TooLong));
        let mut parser = EventParser::default();
        let line = [b"data: ".as_slice(), &vec![b'x'; EVENT_LIMIT / 2], b"\n"].concat();
        assert_eq!(parser.push(&line), Ok(Vec::new()));
        assert_eq!(parser.push(&line), Err(EventsMalformed::TooLong));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert_eq!(EventParser::default().push(b"data: \xff\n"), Err(EventsMalformed::NotUtf8));
    }
}
