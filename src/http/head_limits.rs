//! How large the head of a request may be, and what becomes of one that is larger.
//!
//! The HTTP library refuses such a head by itself, but without a body. So the bytes are counted on
//! their way to it, and where they are too many the head is ended early: the library then has a
//! whole head within its own limits, `service` is told what was wrong with it, and answers as it
//! answers everything else. That costs a few counters for each connection, however much is sent.
//! Not here: how long a head may take, and the connection (`head`); the words (`error`).

/// Largest head in bytes: the longest address, and 16 KiB of headers.
pub const MAX_HEAD_BYTES: usize = 80 << 10;

/// Most headers: four times what browsers and proxies send. As many as hyper takes by itself.
const MAX_HEADERS: usize = 100;

/// Longest address with its query, in bytes: the longest that `http::Uri` and hyper can hold.
const MAX_ADDRESS_BYTES: usize = u16::MAX as usize - 1;

/// What is wrong with a head that was ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLargeHead {
    /// Too many bytes in all.
    #[error("The head of the request is larger than {MAX_HEAD_BYTES} bytes.")]
    Bytes,
    /// Too many headers.
    #[error("The request has more than {MAX_HEADERS} headers.")]
    Headers,
    /// Too many bytes in the address.
    #[error(
        "The address is longer than {MAX_ADDRESS_BYTES} bytes. A long command goes into the body \
        of the request."
    )]
    Address,
}

/// Where a head is ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// The bytes of the last piece that still belong to it.
    pub kept: usize,
    /// What makes it whole.
    pub ending: &'static [u8],
    /// Why.
    pub why: TooLargeHead,
}

/// Which part of a head the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HeadPart {
    /// The method, once its first byte is there.
    #[default]
    Beginning,
    Method,
    Address,
    /// `HTTP/1.1`
    Version,
    /// Of a header, or of the empty line that ends the head.
    LineStart,
    Name,
    Value,
    /// What follows the head.
    Over,
}

/// Counts the head of one request as it comes.
#[derive(Debug, Default)]
pub struct HeadCount {
    part: HeadPart,
    bytes: usize,
    headers: usize,
    /// Bytes of the address, or those of the version.
    in_part: usize,
    ended_with_return: bool,
}

impl HeadCount {
    /// Whether all of the head was there.
    pub fn is_over(&self) -> bool {
        self.part == HeadPart::Over
    }

    /// Counts the next piece of what a client sends; where to end the head, if it is too large.
    pub fn take(&mut self, piece: &[u8]) -> Option<Cut> {
        for (kept, byte) in piece.iter().enumerate() {
            if self.is_over() {
                return None;
            }
            if let Some(why) = self.excess(*byte) {
                return Some(Cut { kept, ending: self.ending(), why });
            }
            self.count(*byte);
        }
        None
    }

    /// What the next byte is too many for.
    const fn excess(&self, byte: u8) -> Option<TooLargeHead> {
        match self.part {
            _ if self.bytes >= MAX_HEAD_BYTES => Some(TooLargeHead::Bytes),
            HeadPart::Address if self.in_part >= MAX_ADDRESS_BYTES && byte != b' ' => {
                Some(TooLargeHead::Address)
            }
            HeadPart::LineStart
                if self.headers >= MAX_HEADERS && !matches!(byte, b'\r' | b'\n') =>
            {
                Some(TooLargeHead::Headers)
            }
            _ => None,
        }
    }

    /// Takes in a byte. What is no head of a request is refused by hyper, whatever it counts as.
    fn count(&mut self, byte: u8) {
        let before = self.part;
        self.part = match (before, byte) {
            (HeadPart::Beginning, b'\r' | b'\n') => HeadPart::Beginning,
            (HeadPart::LineStart, b'\n') => HeadPart::Over,
            (HeadPart::LineStart, b'\r') => HeadPart::LineStart,
            (_, b'\n') => HeadPart::LineStart,
            (HeadPart::Beginning, _) => HeadPart::Method,
            (HeadPart::Method, b' ') => HeadPart::Address,
            (HeadPart::Address, b' ') => HeadPart::Version,
            (HeadPart::LineStart, _) => HeadPart::Name,
            (HeadPart::Name, b':') => HeadPart::Value,
            (part, _) => part,
        };
        self.bytes += 1;
        self.ended_with_return = byte == b'\r';
        match self.part {
            part if part != before => self.in_part = 0,
            _ => self.in_part += 1,
        }
        if before == HeadPart::LineStart && self.part == HeadPart::Name {
            self.headers += 1;
        }
    }

    /// What makes a head of what was counted so far.
    fn ending(&self) -> &'static [u8] {
        const VERSION: &[u8] = b"HTTP/1.1\r\n\r\n";
        let ending: &[u8] = match self.part {
            HeadPart::Beginning => b"GET / HTTP/1.1\r\n\r\n",
            HeadPart::Method => b" / HTTP/1.1\r\n\r\n",
            HeadPart::Address if self.in_part == 0 => b"/ HTTP/1.1\r\n\r\n",
            HeadPart::Address => b" HTTP/1.1\r\n\r\n",
            HeadPart::Version => {
                let sent = self.in_part - usize::from(self.ended_with_return);
                VERSION.get(sent..).unwrap_or_default()
            }
            HeadPart::LineStart => b"\r\n",
            HeadPart::Name => b":\r\n\r\n",
            HeadPart::Value => b"\r\n\r\n",
            HeadPart::Over => b"",
        };
        let ending_after_return = ending.strip_prefix(b"\r").filter(|_| self.ended_with_return);
        ending_after_return.unwrap_or(ending)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use axum::body::Body;
    use axum::response::Response;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LINE: &str = "GET /v1/bays HTTP/1.1\r\n";

    /// What is left of a head that comes in pieces of this size, with its ending.
    fn left(head: &str, size: usize) -> Option<(String, TooLargeHead)> {
        let mut count = HeadCount::default();
        let mut left = Vec::new();
        for piece in head.as_bytes().chunks(size) {
            if let Some(cut) = count.take(piece) {
                left.extend_from_slice(&piece[..cut.kept]);
                left.extend_from_slice(cut.ending);
                return Some((String::from_utf8(left).unwrap(), cut.why));
            }
            left.extend_from_slice(piece);
        }
        assert!(count.is_over(), "{:?}", count.part);
        None
    }

    /// A head that is as large as it may be, and one that is a byte larger.
    fn of_largest_size(begin: &str, byte: &str, end: &str) -> [String; 2] {
        let rest = MAX_HEAD_BYTES - begin.len() - end.len();
        [rest, rest + 1].map(|rest| format!("{begin}{}{end}", byte.repeat(rest)))
    }

    #[test]
    fn what_fits_is_left_alone_and_what_does_not_is_ended_as_a_head() {
        let address = |bytes| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(bytes - 1));
        let headers = |count| format!("{LINE}{}\r\n", "X: y\r\n".repeat(count));
        let addresses = [address(MAX_ADDRESS_BYTES), address(MAX_ADDRESS_BYTES + 1)];
        let counts = [headers(MAX_HEADERS), headers(MAX_HEADERS + 1)];
        let value = of_largest_size(&format!("{LINE}X: "), "y", "\r\n\r\n");
        for ([fits, exceeds], why) in [
            (addresses, TooLargeHead::Address),
            (counts, TooLargeHead::Headers),
            (value, TooLargeHead::Bytes),
        ] {
            for size in [1, 1000, 1 << 20] {
                assert_eq!(left(&fits, size), None, "{why:?} {size}");
                let (cut, told) = left(&exceeds, size).unwrap();
                assert_eq!(told, why, "{size}");
                assert!(cut.ends_with("\r\n\r\n") && cut.len() <= MAX_HEAD_BYTES + 4, "{why:?}");
                assert!(cut.starts_with("GET /"), "{why:?}");
            }
        }
    }

    /// What hyper makes of a head.
    async fn answered(head: &[u8]) -> String {
        let (mut client, io) = duplex(1 << 10);
        let answer = |_| ready(Ok::<_, Infallible>(Response::new(Body::empty())));
        let mut http = http1::Builder::new();
        http.keep_alive(false);
        let served = tokio::spawn(http.serve_connection(TokioIo::new(io), service_fn(answer)));
        client.write_all(head).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        served.await.unwrap().unwrap();
        answer
    }

    /// Whatever part the limit falls into.
    #[tokio::test]
    async fn every_part_of_a_head_can_be_ended() {
        let whole = b"GET /v1/bays HTTP/1.0\r\nHost: localhost\r\nX: y\r\n\r\n";
        for sent in 0..whole.len() {
            let mut count = HeadCount::default();
            assert_eq!(count.take(&whole[..sent]), None);
            count.bytes = MAX_HEAD_BYTES;
            let Cut { kept, ending, why } = count.take(&whole[sent..]).unwrap();
            assert_eq!((kept, why), (0, TooLargeHead::Bytes));
            let head = [&whole[..sent], ending].concat();
            let answer = answered(&head).await;
            assert!(answer.contains(" 200 "), "{}: {answer}", head.escape_ascii());
        }
    }

    #[test]
    fn what_follows_a_head_is_not_counted() {
        let mut count = HeadCount::default();
        let whole = format!("\r\n{LINE}Host: localhost\n\n{}", "x".repeat(MAX_HEAD_BYTES));
        assert_eq!(count.take(whole.as_bytes()), None);
        assert!(count.is_over());
    }
}
