//! A client of the event stream on each of its transports, that can be cut off at any moment.
//!
//! Not here: what is expected of the stream (`stream`, `stream_*`).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message as Frame, WebSocket};

use crate::harness::{Http, PATIENCE};

/// How a stream is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Sse,
    Lines,
    WebSocket,
}

pub const TRANSPORTS: [Transport; 3] = [Transport::Sse, Transport::Lines, Transport::WebSocket];

/// One message of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// What to resume after; `None` if the message says no position.
    pub position: Option<u64>,
    /// `heartbeat`, `object`, `snapshot`, `end`; empty if it is an event.
    pub control: String,
    /// The document.
    pub data: Value,
}

impl Message {
    fn of(data: Value) -> Self {
        let number = |value: &Value| match value {
            Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        };
        let control = data["stream"].as_str().unwrap_or_default().to_owned();
        Self { position: number(&data["position"]), control, data }
    }
}

/// An open stream.
pub struct Follower {
    connection: Connection,
}

enum Connection {
    Http(Transport, BufReader<TcpStream>),
    WebSocket(WebSocket<TcpStream>),
}

impl Follower {
    /// Opens a stream; `None` if the server is gone.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn open(http: &Http, transport: Transport, query: &str, last: Option<u64>) -> Option<Self> {
        let last = last.map(|id| ("last-event-id", id.to_string()));
        let token = http.token.clone().map(|token| ("x-auth-token", token));
        let headers: Vec<_> = last.into_iter().chain(token).collect();
        Self::open_with(http, transport, query, &headers)
    }

    /// The same with these headers only.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn open_with(
        http: &Http,
        transport: Transport,
        query: &str,
        headers: &[(&'static str, String)],
    ) -> Option<Self> {
        let address = http.url().strip_prefix("http://").unwrap();
        let path = format!("/v1/events/stream?{query}");
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if transport == Transport::WebSocket {
            let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
            for (name, value) in headers {
                request.headers_mut().insert(*name, value.parse().unwrap());
            }
            return match tungstenite::client(request, stream) {
                Ok((socket, _)) => Some(Self { connection: Connection::WebSocket(socket) }),
                Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(refused))) => {
                    panic!("{path}: {refused:?}")
                }
                Err(_) => None,
            };
        }
        let accept = match transport {
            Transport::Lines => "Accept: application/x-ndjson\r\n",
            _ => "",
        };
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let more = format!("{accept}{}", headers.collect::<String>());
        // HTTP/1.0: no chunks, so that lines are lines.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{more}\r\n").ok()?;
        let mut lines = BufReader::new(stream);
        let status = line(&mut lines)?;
        assert!(status.contains("200"), "{path}: {status}");
        while !line(&mut lines)?.is_empty() {}
        Some(Self { connection: Connection::Http(transport, lines) })
    }

    /// The next message; none at the end, or where the server is gone.
    pub fn next(&mut self) -> Option<Message> {
        match &mut self.connection {
            Connection::WebSocket(socket) => loop {
                match socket.read().ok()? {
                    Frame::Text(text) => {
                        return Some(Message::of(serde_json::from_str(&text).unwrap()));
                    }
                    Frame::Close(_) => return None,
                    _ => {}
                }
            },
            Connection::Http(Transport::Lines, lines) => {
                let line = line(lines)?;
                Some(Message::of(serde_json::from_str(&line).unwrap()))
            }
            Connection::Http(_, lines) => event(lines),
        }
    }

    /// The last message before the end.
    pub fn last(mut self) -> Message {
        let all = std::iter::from_fn(|| self.next());
        all.last().expect("a message before the end")
    }

    /// The next message that is an event of the log.
    pub fn event(&mut self) -> Message {
        loop {
            let message = self.next().expect("the stream goes on");
            if message.control.is_empty() {
                return message;
            }
        }
    }
}

/// A whole line; `None` if the connection ended before its end.
fn line(lines: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    line.ends_with('\n').then(|| line.trim_end().to_owned())
}

/// A server-sent event, checked against what its document says.
fn event(lines: &mut BufReader<TcpStream>) -> Option<Message> {
    let (mut id, mut name, mut message) = (None, String::new(), None);
    loop {
        let line = line(lines)?;
        match line.split_once(": ") {
            Some(("id", text)) => id = Some(text.parse::<u64>().unwrap()),
            Some(("event", text)) => text.clone_into(&mut name),
            Some(("data", text)) => {
                message = Some(Message::of(serde_json::from_str(text).unwrap()));
            }
            _ if line.is_empty() => break,
            _ => panic!("{line}"),
        }
    }
    let message = message.unwrap();
    assert_eq!((&message.position, &message.control), (&id, &name), "{message:?}");
    Some(message)
}
