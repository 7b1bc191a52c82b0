//! Connections: TLS, then HTTP/1.1, each with its bounds.

use crate::answer::{Answer, refusal};
use crate::body::Shared;
use crate::certificate::Certificates;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// Most connections at once.
const CONNECTIONS_MAX: usize = 256;
/// Longest body of a request: the longest content, escaped.
pub(crate) const BODY_BYTES_MAX: usize = 40 << 20;
/// Longest body that any number of requests may have at once.
const SMALL_BODY_BYTES_MAX: u64 = 64 << 10;
/// Most longer bodies at once: they are held in memory before anyone knows who sends them.
const LARGE_BODIES_MAX: usize = 2;
const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 48 << 10;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for a request's head, and so for an idle connection.
const HEAD: Duration = Duration::from_secs(75);
const REQUEST: Duration = Duration::from_secs(150);
/// Time for the rest of a body that nobody wanted.
const REST: Duration = Duration::from_secs(10);

/// Where a request came from, as text.
#[derive(Debug, Clone)]
pub(crate) struct Source(pub(crate) String);

/// Listens on every address of the box.
pub(crate) fn listen(port: u16) -> std::io::Result<TcpListener> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = std::net::TcpListener::bind(any)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves until the process ends.
pub(crate) async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    app: Router,
    certificates: Certificates,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let large = Arc::new(Semaphore::new(LARGE_BODIES_MAX));
    let acceptor = TlsAcceptor::from(config);
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_out_of_descriptors) => {
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, certificates) = (acceptor.clone(), certificates.clone());
        let asked = Asked { app: app.clone(), large: Arc::clone(&large) };
        tokio::spawn(async move {
            let _slot = slot;
            connection(stream, peer.ip().to_canonical(), acceptor, asked, certificates).await;
        });
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    acceptor: TlsAcceptor,
    asked: Asked,
    certificates: Certificates,
) {
    // small answers go out at once; a socket that cannot do that serves all the same
    stream.set_nodelay(true).ok();
    if let Ok(local) = stream.local_addr() {
        certificates.cover(local.ip().to_canonical()).await;
    }
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Source(peer.to_string()));
        let asked = asked.clone();
        async move { Ok::<_, Infallible>(asked.answer(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    http.max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX);
    // a connection that breaks is its client's affair
    http.serve_connection(TokioIo::new(stream), service).await.ok();
}

/// What answers requests, within their bounds.
#[derive(Clone)]
struct Asked {
    app: Router,
    large: Arc<Semaphore>,
}

impl Asked {
    async fn answer(self, request: Request<Incoming>) -> Response {
        let continues = request.headers().contains_key(header::EXPECT);
        let (head, body) = request.into_parts();
        let body = Shared::new(body, BODY_BYTES_MAX);
        let answering = self.within(Request::from_parts(head, body.clone()));
        let mut response = match timeout(REQUEST, answering).await {
            Ok(response) => response,
            Err(_elapsed) => {
                let message = "the request did not arrive, or was not answered, in time";
                let next = "look at what it changes before you send it again";
                refusal(StatusCode::REQUEST_TIMEOUT, "timed_out", message, next).into_response()
            }
        };
        if !is_typed(&response) {
            response = untyped(response.status()).into_response();
        }
        // RFC 9112 section 9.6: a connection that closes says so. The rest of a body that nobody
        // wanted is read, so that its sender sees the answer and not a reset; one who waits for a
        // `100 Continue` gets the answer in its place.
        if body.is_unread() && !continues {
            timeout(REST, body.clone().read_out()).await.ok();
        }
        if body.is_unread() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// A long body waits until few others are held.
    async fn within(mut self, request: Request<Shared>) -> Response {
        let small = request.body().at_most().is_some_and(|bytes| bytes <= SMALL_BODY_BYTES_MAX);
        let _large = match small {
            true => None,
            false => self.large.acquire().await.ok(),
        };
        let Ok(response) = self.app.call(request.map(Body::new)).await;
        response
    }
}

/// Whether a refusal says what was expected; those of the libraries do not.
fn is_typed(response: &Response) -> bool {
    let status = response.status();
    let json = HeaderValue::from_static("application/json");
    let media_type = response.headers().get(header::CONTENT_TYPE);
    !(status.is_client_error() || status.is_server_error()) || media_type == Some(&json)
}

/// Our words for a refusal of the HTTP or MCP library.
fn untyped(status: StatusCode) -> Answer {
    let (code, message, next) = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            ("bad_method", "the path does not take this method", "see docs/surface.md")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            ("too_long", "the body is longer than 40 MiB", "send it in parts")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::NOT_ACCEPTABLE => (
            "bad_media_type",
            "MCP is spoken in JSON",
            "send `Content-Type: application/json` and `Accept: application/json, text/event-stream`",
        ),
        StatusCode::FORBIDDEN => {
            ("bad_origin", "a page of a browser has nothing to say here", "use an MCP client")
        }
        status if status.is_client_error() => {
            ("bad_request", "the request has not the form of its path", "see docs/surface.md")
        }
        _ => ("unavailable", "the door could not answer", "try again in a second"),
    };
    refusal(status, code, message, next)
}
