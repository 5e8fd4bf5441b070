//! Compresses answers for clients that accept gzip: what was read, is complete, and is not small.
//!
//! Streams and followed logs have no length and are never compressed, and neither is the answer to
//! a change. Compressed text gives away by its length what is repeated in it (BREACH), which takes
//! a secret, a text of the attacker beside it, and many requests in the victim's name: tokens,
//! sessions and values of environment variables are in no answer that is compressed, and requests
//! from foreign pages are refused (`edge/page`).

use std::io::{self, Write};

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::error::ApiError;
use crate::blocking;

/// What is smaller fits into a packet anyway.
const MIN_BYTES: u64 = 1400;

/// What is compressed without a thread of its own: it takes less than a millisecond.
const INLINE_BYTES: usize = 64 << 10;

/// The types of content that are compressed, by their beginnings.
const TYPES: [&str; 4] =
    ["application/json", "application/schema+json", "application/openmetrics-text", "text/plain"];

/// Whether a request accepts gzip.
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    for coding in values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        let weight = weight.map_or(1.0, |text| text.parse::<f64>().unwrap_or_default());
        match name.as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "*" => any = Some(weight),
            "identity" => identity = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or_default();
    gzip > 0.0 && gzip >= identity.unwrap_or_default()
}

/// An answer in the coding that its client accepts.
pub async fn coded(is_accepted: bool, method: &Method, mut response: Response) -> Response {
    if !method.is_safe() || !is_compressible(&response) {
        return response;
    }
    let vary = HeaderValue::from_static("Accept-Encoding");
    response.headers_mut().append(header::VARY, vary);
    let length = response.body().size_hint().exact();
    if !is_accepted {
        return response;
    }
    match length {
        Some(length) if length >= MIN_BYTES => compressed(response).await,
        _ => {
            // The length of the same GET, which would be compressed, is not known.
            if *method == Method::HEAD {
                response.headers_mut().remove(header::CONTENT_LENGTH);
            }
            response
        }
    }
}

/// Whether an answer is of a type that becomes smaller, and is not coded yet.
fn is_compressible(response: &Response) -> bool {
    let headers = response.headers();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    response.status() == StatusCode::OK
        && !headers.contains_key(header::CONTENT_ENCODING)
        && kind.is_some_and(|kind| TYPES.iter().any(|known| kind.starts_with(known)))
}

async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return ApiError::Internal(error.to_string()).into_response(),
    };
    let done = if bytes.len() <= INLINE_BYTES {
        gzip(&bytes)
    } else {
        let done = blocking::run(move || gzip(&bytes)).await;
        done.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    };
    let bytes = match done {
        Ok(bytes) => bytes,
        Err(error) => return ApiError::Internal(error.to_string()).into_response(),
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    // A strong one is of the bytes; If-Match takes both.
    if let Some(etag) = parts.headers.get(header::ETAG)
        && !etag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[&b"W/"[..], etag.as_bytes()].concat())
    {
        parts.headers.insert(header::ETAG, weak);
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::body::Bytes;
    use flate2::read::GzDecoder;

    use super::*;

    fn accepted(text: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, text.parse().unwrap());
        is_accepted(&headers)
    }

    #[test]
    fn gzip_is_used_where_it_is_wanted() {
        for wanted in ["gzip", "GZIP", "x-gzip", "deflate, gzip;q=0.5, br", "*", "identity, gzip"] {
            assert!(accepted(wanted), "{wanted}");
        }
        for not in ["", "identity", "br", "gzip;q=0", "*, gzip;q=0", "gzip;q=0.5, identity", "gz"] {
            assert!(!accepted(not), "{not}");
        }
        assert!(!is_accepted(&HeaderMap::new()));
    }

    fn answer(kind: &'static str, bytes: usize) -> Response {
        let headers = [(header::CONTENT_TYPE, kind), (header::ETAG, "\"5\"")];
        (headers, vec![b'x'; bytes]).into_response()
    }

    #[tokio::test]
    async fn what_is_large_is_compressed_and_what_is_not_is_left_alone() {
        for bytes in [2_000, 1 << 20] {
            let done = coded(true, &Method::GET, answer("application/json", bytes)).await;
            assert_eq!(done.headers()["content-encoding"], "gzip");
            assert_eq!(done.headers()["vary"], "Accept-Encoding");
            assert_eq!(done.headers()["etag"], "W/\"5\"");
            assert!(!done.headers().contains_key("content-length"));
            let body = to_bytes(done.into_body(), usize::MAX).await.unwrap();
            let mut text = Vec::new();
            GzDecoder::new(&*body).read_to_end(&mut text).unwrap();
            assert_eq!(text, vec![b'x'; bytes]);
        }
        let plain = |response: &Response| !response.headers().contains_key("content-encoding");
        let json = || answer("application/json", 2_000);
        let refused = coded(false, &Method::GET, json()).await;
        assert!(plain(&refused) && refused.headers()["vary"] == "Accept-Encoding");
        assert!(plain(&coded(true, &Method::POST, json()).await));
        assert!(plain(&coded(true, &Method::GET, answer("application/json", 100)).await));
        assert!(plain(&coded(true, &Method::GET, answer("text/event-stream", 2_000)).await));
        let pieces = futures_util::stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from("x")));
        let endless = ([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(pieces));
        assert!(plain(&coded(true, &Method::GET, endless.into_response()).await));
    }
}
