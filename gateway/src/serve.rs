//! Connections: TLS, then HTTP/1.1, each with its bounds.

use crate::certificate::Certificates;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use http_body_util::Limited;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
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
const HEADERS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 48 << 10;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for a request's head, and so for an idle connection.
const HEAD: Duration = Duration::from_secs(75);
const REQUEST: Duration = Duration::from_secs(150);

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
        let (acceptor, app, certificates) = (acceptor.clone(), app.clone(), certificates.clone());
        tokio::spawn(async move {
            let _slot = slot;
            connection(stream, peer.ip().to_canonical(), acceptor, app, certificates).await;
        });
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    acceptor: TlsAcceptor,
    app: Router,
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
        let request = request.map(|body| Body::new(Limited::new(body, BODY_BYTES_MAX)));
        let mut app = app.clone();
        async move {
            match timeout(REQUEST, app.call(request)).await {
                Ok(answered) => answered,
                Err(_elapsed) => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
            }
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    http.max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX);
    // a connection that breaks is its client's affair
    http.serve_connection(TokioIo::new(stream), service).await.ok();
}
