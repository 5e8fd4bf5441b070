//! The encodings of a stream: server-sent events, lines of JSON, WebSocket messages. The documents
//! are the same in all three.
//!
//! Not here: what is sent (`reader`).

use std::convert::Infallible;
use std::io::Write;

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;

use super::item::Item;
use super::reader::Reader;

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `text/event-stream`
    Sse,
    /// `application/x-ndjson`
    Lines,
}

impl Form {
    /// What the reader asks for: server-sent events unless it says `application/x-ndjson`.
    pub fn wanted(headers: &HeaderMap) -> Self {
        let accepted =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut types = accepted.flat_map(|value| value.split(','));
        let is_lines = |wanted: &str| {
            wanted.split(';').next().is_some_and(|name| name.trim() == "application/x-ndjson")
        };
        if types.any(is_lines) { Self::Lines } else { Self::Sse }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream; charset=utf-8",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// Adds an item to a piece of the answer.
    fn write(self, item: &Item, piece: &mut Vec<u8>) {
        match (self, item) {
            (Self::Lines, Item::Event(_, document)) => {
                piece.extend_from_slice(document);
                piece.push(b'\n');
            }
            (Self::Lines, Item::Control(..)) => {
                piece.extend_from_slice(document(item).as_bytes());
                piece.push(b'\n');
            }
            (Self::Sse, Item::Event(position, document)) => {
                let _infallible = write!(piece, "id: {position}\ndata: ");
                piece.extend_from_slice(document);
                piece.extend_from_slice(b"\n\n");
            }
            (Self::Sse, Item::Control(name, position, _)) => {
                if let Some(position) = position {
                    piece.extend_from_slice(format!("id: {position}\n").as_bytes());
                }
                let text = format!("event: {name}\ndata: {}\n\n", document(item));
                piece.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// The document of a message that is not an event: `{"stream": "heartbeat", "position": 41}`. JSON
/// in one line: it has no line breaks of its own.
fn document(item: &Item) -> String {
    let Item::Control(name, position, fields) = item else { return String::new() };
    let mut document = json!({ "stream": name });
    if let Some(document) = document.as_object_mut() {
        document.extend(position.map(|position| ("position".to_owned(), json!(position))));
        document.extend(fields.as_object().cloned().unwrap_or_default());
    }
    document.to_string()
}

/// The answer over HTTP, which goes on until the reader or the service ends it.
pub fn answer(form: Form, reader: Reader) -> Response {
    let pieces = stream::unfold(reader, move |mut reader| async move {
        let items = reader.next().await?;
        let mut piece = Vec::with_capacity(items.iter().map(Item::room).sum());
        for item in &items {
            form.write(item, &mut piece);
        }
        Some((Ok::<_, Infallible>(Bytes::from(piece)), reader))
    });
    let headers =
        [(header::CONTENT_TYPE, form.content_type()), (header::CACHE_CONTROL, "no-store")];
    (StatusCode::OK, headers, Body::from_stream(pieces)).into_response()
}

/// Sends the same over a WebSocket, a message an item. What the reader says is not listened to,
/// but for its leaving.
pub async fn messages(mut socket: WebSocket, mut reader: Reader) {
    loop {
        let items = tokio::select! {
            items = reader.next() => items,
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        let Some(items) = items else { break };
        for item in items {
            let text = match &item {
                // JSON is text; an event that is none is shown nobody.
                Item::Event(_, document) => {
                    Utf8Bytes::try_from(document.clone()).unwrap_or_default()
                }
                Item::Control(..) => document(&item).into(),
            };
            if socket.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    }
    let reason = Utf8Bytes::from_static("the stream has ended; resume after its last position");
    // Clients come back by themselves after the one, and not after the other.
    let code = if reader.is_shut_out() { close_code::POLICY } else { close_code::AWAY };
    let close = CloseFrame { code, reason };
    // A reader that has gone meanwhile needs no goodbye.
    drop(socket.send(Message::Close(Some(close))).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Position;

    fn written(form: Form, item: &Item) -> String {
        let mut piece = Vec::new();
        form.write(item, &mut piece);
        String::from_utf8(piece).unwrap()
    }

    #[test]
    fn the_same_document_in_each_form() {
        let event = Item::Event(Position(7), Bytes::from_static(b"{\"id\":\"e\"}"));
        assert_eq!(written(Form::Sse, &event), "id: 7\ndata: {\"id\":\"e\"}\n\n");
        assert_eq!(written(Form::Lines, &event), "{\"id\":\"e\"}\n");
        let end = Item::Control("end", Some(Position(7)), json!({ "reason": "r" }));
        let document = "{\"position\":7,\"reason\":\"r\",\"stream\":\"end\"}";
        assert_eq!(written(Form::Sse, &end), format!("id: 7\nevent: end\ndata: {document}\n\n"));
        assert_eq!(written(Form::Lines, &end), format!("{document}\n"));
        let object = Item::Control("object", None, json!({}));
        assert!(!written(Form::Sse, &object).contains("id:"), "nothing to resume after");
    }

    #[test]
    fn lines_for_those_who_ask_for_them() {
        let wanted = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            Form::wanted(&headers)
        };
        assert_eq!(wanted("application/x-ndjson"), Form::Lines);
        assert_eq!(wanted("text/html, application/x-ndjson;q=0.9"), Form::Lines);
        assert_eq!(wanted("text/event-stream"), Form::Sse);
        assert_eq!(wanted("*/*"), Form::Sse);
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Sse);
    }
}
