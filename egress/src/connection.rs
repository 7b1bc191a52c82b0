//! Connections: to an address that the call may reach, by TLS that is always verified, kept for the same agent, host,
//! port and secrets and for nobody else.

use crate::names;
use crate::reach::Reach;
use bytes::Bytes;
use contract::url::Host;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long one address is tried, and how long a server may take to prove who it is.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept, and how many.
const IDLE: Duration = Duration::from_secs(20);
const IDLE_MAX: usize = 64;
/// Longest headers of a reply, and how many.
pub(crate) const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 128;

/// Who may use a connection again: its agent, for this host and port, with these versions of these secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) agent: String,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) secrets: Vec<(String, u64)>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// An open connection to one address.
pub(crate) struct Connection {
    pub(crate) address: IpAddr,
    sender: Sender,
    since: Instant,
}

/// Connections that nobody uses now.
#[derive(Default)]
pub(crate) struct Idle(RefCell<BTreeMap<Owner, Vec<Connection>>>);

/// Runs a connection's work beside the calls, on this thread.
#[derive(Clone)]
struct Here;

impl<F: Future + 'static> Executor<F> for Here {
    fn execute(&self, work: F) {
        tokio::task::spawn_local(async move {
            work.await;
        });
    }
}

impl Idle {
    /// A connection of this owner to an address that this call may reach.
    pub(crate) fn take(&self, owner: &Owner, reach: Reach<'_>) -> Option<Connection> {
        let mut idle = self.0.borrow_mut();
        for connections in idle.values_mut() {
            connections.retain(|it| it.since.elapsed() < IDLE && !it.is_closed());
        }
        idle.retain(|_, connections| !connections.is_empty());
        let connections = idle.get_mut(owner)?;
        let at = connections.iter().position(|it| reach.admits(it.address))?;
        Some(connections.swap_remove(at))
    }

    /// Keeps a connection whose reply was read to its end.
    pub(crate) fn keep(&self, owner: Owner, connection: Connection) {
        let mut idle = self.0.borrow_mut();
        if idle.values().map(Vec::len).sum::<usize>() < IDLE_MAX && !connection.is_closed() {
            let connection = Connection { since: Instant::now(), ..connection };
            idle.entry(owner).or_default().push(connection);
        }
    }
}

impl Connection {
    fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// Whether it speaks HTTP/2.
    pub(crate) const fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Sends a request and waits for the head of its reply.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// The addresses of a host that a call may reach, in the order in which they are tried.
pub(crate) async fn addresses(
    servers: &[SocketAddr],
    host: &Host,
    reach: Reach<'_>,
) -> Result<Vec<IpAddr>, &'static str> {
    let all = match host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => names::look_up(servers, name).await?.addresses,
    };
    let admitted: Vec<IpAddr> = all.into_iter().filter(|address| reach.admits(*address)).collect();
    if admitted.is_empty() { Err("address_refused") } else { Ok(admitted) }
}

/// A connection to the first address that takes one.
pub(crate) async fn tcp(
    addresses: &[IpAddr],
    port: u16,
) -> Result<(TcpStream, IpAddr), &'static str> {
    for address in addresses {
        let connecting = TcpStream::connect(SocketAddr::new(*address, port));
        if let Ok(Ok(stream)) = timeout(CONNECT, connecting).await {
            stream.set_nodelay(true).ok();
            return Ok((stream, *address));
        }
    }
    Err("not_connected")
}

/// Opens a connection for HTTP; by TLS where a configuration is given.
pub(crate) async fn open(
    addresses: &[IpAddr],
    host: &Host,
    port: u16,
    tls: Option<ClientConfig>,
) -> Result<Connection, &'static str> {
    let (stream, address) = tcp(addresses, port).await?;
    let sender = match tls {
        None => http1(TokioIo::new(stream)).await?,
        Some(config) => {
            let name = match host {
                Host::Name(name) => ServerName::try_from(name.clone()),
                Host::Address(address) => Ok(ServerName::IpAddress((*address).into())),
            };
            let name = name.map_err(|_no_name| "not_trusted")?;
            let connector = TlsConnector::from(Arc::new(config));
            let connecting = timeout(CONNECT, connector.connect(name, stream)).await;
            let connected = connecting.map_err(|_elapsed| "not_connected")?;
            let stream = connected.map_err(|error| {
                // what rustls says of a certificate or of the protocol comes as invalid data
                if error.kind() == ErrorKind::InvalidData { "not_trusted" } else { "not_connected" }
            })?;
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
            let stream = TokioIo::new(stream);
            if is_http2 { http2(stream).await? } else { http1(stream).await? }
        }
    };
    Ok(Connection { address, sender, since: Instant::now() })
}

async fn http1<S>(stream: S) -> Result<Sender, &'static str>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (sender, connection) = builder.handshake(stream).await.map_err(|_broken| "bad_reply")?;
    tokio::task::spawn_local(connection);
    Ok(Sender::Http1(sender))
}

async fn http2<S>(stream: S) -> Result<Sender, &'static str>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
{
    let mut builder = http2::Builder::new(Here);
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    let (sender, connection) = builder.handshake(stream).await.map_err(|_broken| "bad_reply")?;
    tokio::task::spawn_local(connection);
    Ok(Sender::Http2(sender))
}
