//! Connections: which are accepted, how long they may say nothing, and what is spoken on them.
//!
//! Nobody is known yet when a connection is accepted, so what one may cost is limited here: memory
//! by the size of a head (`head_limits`), time by limits until it is complete, descriptors by the
//! number of connections (`connections`). Not here: who may ask for what (`edge`), certificates
//! (`tls`).

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tower::{Service, ServiceExt};

use super::connections::{ConnectionPlace, Connections, NoPlace};
use super::edge::host::Connection;
use super::error::ApiError;
use super::head::{AnswerBody, Head, Limited};
use super::head_limits::MAX_HEAD_BYTES;
use super::progress::Progressing;
use super::tls::Tls;

/// How long the head of a request may take from its first byte, and the first one from the
/// connection's beginning, with the TLS handshake: 80 KiB at 8 kB/s.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is kept for its next request: longer than the minute that proxies keep
/// theirs, so that it is they who end one, and never while the next request is under way.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a client may take nothing of what it is sent. Then it has gone without a word, or wants
/// to hold what its answer holds.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);

/// What hyper keeps of what a connection sends: the largest head, and what ends one that is larger.
const MAX_BUFFER_BYTES: usize = MAX_HEAD_BYTES + 64;

/// How long a connection without a place may take to be told so: a client that is there sends its
/// head at once.
const TURNED_AWAY_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two attempts to accept while the system has no descriptor or memory left for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Between two lines in the log about the same trouble.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// What answers requests.
pub trait Api:
    Service<Request, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Api for T where
    T: Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What the connections of a listener have in common.
#[derive(Clone)]
struct Speaker {
    http: http1::Builder,
    tls: Option<Arc<Tls>>,
    stopping: watch::Receiver<bool>,
}

/// Accepts connections until `stopping` turns true, and returns when all have ended.
///
/// At the limit connections are accepted and turned away with 503, and not left in the kernel's
/// queue: a client that hears nothing waits, and cannot tell this server from one that hangs.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    proxies: Vec<IpNet>,
    service: impl Api,
    mut stopping: watch::Receiver<bool>,
) {
    let connections = Connections::new(proxies);
    let speaker = Speaker { http: http(), tls, stopping: stopping.clone() };
    let (mut warnings, mut of_clients) = (Warnings::default(), Warnings::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stopping) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let why = match connections.take(peer.ip()) {
                    Ok(place) => {
                        tokio::spawn(speaker.clone().serve(stream, place, service.clone()));
                        continue;
                    }
                    Err(why) => why,
                };
                match why {
                    NoPlace::All(most) => warnings
                        .add(&format!("all {most} connections are taken; more are turned away")),
                    NoPlace::OfClient(most) => of_clients.add(&format!(
                        "{} has {most} connections; more are turned away",
                        peer.ip()
                    )),
                }
                if let Some(place) = connections.turn_away() {
                    let told = move |_: Request| ready(Ok::<_, Infallible>(refusal(why)));
                    let served = speaker.clone().serve(stream, place, tower::service_fn(told));
                    tokio::spawn(timeout(TURNED_AWAY_TIMEOUT, served));
                }
            }
            Err(error) if is_the_client(&error) => {}
            Err(error) => {
                // No descriptors (EMFILE, ENFILE) or memory: a connection that ends brings some.
                warnings.add(&format!("no connection can be accepted: {error}"));
                tokio::select! {
                    () = sleep(ACCEPT_PAUSE) => {}
                    () = stopped(&mut stopping) => break,
                }
            }
        }
    }
    drop(listener);
    // A place is free when its connection is closed.
    connections.ended().await;
}

/// The answer on a connection for which there is no place.
fn refusal(why: NoPlace) -> Response {
    let mut response = ApiError::TooManyConnections(why).into_response();
    close_after(&mut response);
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Has the connection closed after an answer.
fn close_after(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

impl Speaker {
    /// Serves a connection until it ends.
    async fn serve(self, stream: TcpStream, place: ConnectionPlace, service: impl Api) {
        let until = Instant::now() + HEAD_TIMEOUT;
        // Small answers must not wait for more; where it cannot be set they do.
        drop(stream.set_nodelay(true));
        // A client that has gone already needs no answer.
        let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
        let connection = Connection { local, peer, has_tls: self.tls.is_some() };
        let stream = Progressing::new(stream, PROGRESS_TIMEOUT);
        let head = Head::new(HEAD_TIMEOUT);
        let Some(tls) = &self.tls else {
            let io = Limited::new(stream, head.clone(), until, place);
            return self.speak(io, head, connection, service).await;
        };
        let Ok(Ok(stream)) = timeout_at(until, tls.accept(stream)).await else {
            tracing::debug!(%peer, "the TLS handshake failed");
            return;
        };
        let io = Limited::new(stream, head.clone(), until, place);
        self.speak(io, head, connection, service).await;
    }

    /// Speaks HTTP until the connection ends, or until the service stops and the answer is out.
    async fn speak<IO>(
        &self,
        io: Limited<IO>,
        head: Head,
        connection: Connection,
        service: impl Api,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            head.is_here();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(connection);
            let too_large = head.too_large();
            if let Some(why) = too_large {
                request.extensions_mut().insert(why);
            }
            let (service, head) = (service.clone(), head.clone());
            async move {
                let mut response = service.oneshot(request).await?;
                if too_large.is_some() {
                    close_after(&mut response);
                }
                // What comes after an upgrade is no head.
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return Ok::<_, Infallible>(response);
                }
                Ok(response.map(|body| Body::new(AnswerBody::new(body, head))))
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(io), answer).with_upgrades();
        let mut connection = pin!(connection);
        let mut stopping = self.stopping.clone();
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// Lines in the log, once a minute: whoever opens connections must not fill it.
#[derive(Default)]
struct Warnings {
    last: Option<Instant>,
}

impl Warnings {
    fn add(&mut self, words: &str) {
        let now = Instant::now();
        if self.last.is_none_or(|last| now >= last + WARN_PAUSE) {
            self.last = Some(now);
            tracing::warn!("{words}");
        }
    }
}

/// How HTTP is spoken.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    http.header_read_timeout(IDLE_TIMEOUT);
    http.max_header_size(MAX_BUFFER_BYTES).max_buf_size(MAX_BUFFER_BYTES);
    http
}

/// Waits until the service stops. Without a sender nobody is left who could stop it: stop as well.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stopping| *stopping).await);
}

/// Whether it is the connection that failed, and not the listener.
fn is_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream as Client;

    use axum::body::Bytes;
    use futures_util::stream;
    use tokio::sync::Notify;

    use super::*;

    /// On paused time, which moves on by itself once all there is to do is to wait.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_no_answer_holds_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let asked = Arc::new(Notify::new());
        let answered = asked.clone();
        let service = tower::service_fn(move |_: Request| {
            answered.notify_one();
            let piece = Bytes::from(vec![b'x'; 1 << 16]);
            let endless = stream::repeat_with(move || Ok::<_, Infallible>(piece.clone()));
            ready(Ok::<_, Infallible>(Response::new(Body::from_stream(endless))))
        });
        let (stop, stopping) = watch::channel(false);
        let served = tokio::spawn(serve(listener, None, Vec::new(), service, stopping));
        asked.notified().await;
        stop.send_replace(true);
        // It ends when all connections have ended.
        timeout(10 * PROGRESS_TIMEOUT, served).await.expect("the limit goes first").unwrap();
        drop(client);
    }
}
