//! A parser of server-sent events (HTML standard, 9.2.6), as far as Magnum sends them: `id`,
//! `event`, `data` and comments.

/// Longest event: four times the largest record that the log accepts.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The last id that was seen, this event's or one before it.
    pub id: Option<String>,
    /// Its type; empty if there is none.
    pub event: String,
    /// Its lines, joined by line ends.
    pub data: String,
}

/// An event is longer than any that Magnum sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Turns bytes, cut anywhere, into events.
#[derive(Debug, Default)]
pub struct SseReader {
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
}

impl SseReader {
    /// Takes more bytes and returns the events that they complete. An event that is cut off by the
    /// end of the connection is never returned.
    ///
    /// # Errors
    /// When an event is too long to be one of ours.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, TooLong> {
        let mut events = Vec::new();
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.line.extend_from_slice(piece);
            if self.line.len().saturating_add(self.event.data.len()) > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
            if pieces.peek().is_some() {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line);
                events.extend(self.take_line(text.trim_end_matches('\r')));
            }
        }
        Ok(events)
    }

    /// One whole line; the event that it ends.
    fn take_line(&mut self, line: &str) -> Option<SseEvent> {
        if line.is_empty() {
            let done = SseEvent { id: self.event.id.clone(), ..std::mem::take(&mut self.event) };
            self.event.id.clone_from(&done.id);
            return std::mem::take(&mut self.has_data).then_some(done);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.event),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 7\nevent: container.started\ndata: {\"a\":1}\n\n\
                          data: one\r\ndata: zwei ü\r\n\r\nid: 9\n\ndata: cut";

    fn events(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<SseEvent> {
        let mut reader = SseReader::default();
        pieces.flat_map(|piece| reader.feed(&piece).unwrap()).collect()
    }

    #[test]
    fn events_come_out_the_same_however_the_bytes_are_cut() {
        let whole = events(std::iter::once(STREAM.as_bytes().to_vec()));
        let event = |event: &str, data: &str| SseEvent {
            id: Some("7".to_owned()),
            event: event.to_owned(),
            data: data.to_owned(),
        };
        assert_eq!(whole, [event("container.started", "{\"a\":1}"), event("", "one\nzwei ü")]);
        for size in 1..STREAM.len() {
            assert_eq!(events(STREAM.as_bytes().chunks(size).map(<[u8]>::to_vec)), whole, "{size}");
        }
    }

    #[test]
    fn endless_events_are_refused() {
        for end in ["", "\n"] {
            let mut reader = SseReader::default();
            let piece = format!("data: {}{end}", "x".repeat(1 << 20));
            let refused = (0..8).any(|_| reader.feed(piece.as_bytes()).is_err());
            assert!(refused, "{end:?}");
        }
    }
}
