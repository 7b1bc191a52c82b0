//! A machine outside of the box: a TLS server on this machine's loopback, which a box with [`Options::outside`] reaches
//! as [`ADDRESS`]. It keeps what it was asked for, and gives back what a test asks it for.
//!
//! [`Options::outside`]: crate::Options::outside

use anyhow::{Context, Result};
use contract::base64;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// This machine's loopback, as the box reaches it (QEMU's user network).
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Longest body of a reply that egress takes, in bytes.
pub const REPLY_BYTES_MAX: usize = 4 << 20;
/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// Characters in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// An authority and its certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

/// What came: a request's line, its headers and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// The request's line and headers, as they came.
    pub head: String,
    /// Its body.
    pub body: String,
}

#[derive(Debug, Default)]
struct Kept {
    connections: usize,
    came: Vec<Came>,
}

/// The server; its threads end with the test.
#[derive(Debug)]
pub struct Server {
    /// Its port, here and to the box.
    pub port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Authority")
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let der = params.self_signed(&key)?.der().clone();
        Ok(Self { issuer: Issuer::new(params, key), der })
    }

    /// Its certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        let text: Vec<char> = base64::write(&self.der).chars().collect();
        let lines: Vec<String> = text.chunks(PEM_LINE).map(String::from_iter).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    fn server(&self) -> Result<ServerConfig> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(ADDRESS))];
        params.is_ca = IsCa::ExplicitNoCa;
        let der = params.signed_by(&key, &self.issuer)?.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
        Ok(config.with_single_cert(vec![der, self.der.clone()], key)?)
    }
}

impl Server {
    /// Serves at a free port, with a certificate of this authority for [`ADDRESS`].
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(authority: &Authority) -> Result<Self> {
        let config = Arc::new(authority.server()?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let all = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Ok(mut kept) = all.lock() {
                    kept.connections += 1;
                }
                let (config, kept) = (Arc::clone(&config), Arc::clone(&all));
                // a client that goes away ends its connection alone
                std::thread::spawn(move || serve(stream, config, &kept, port).ok());
            }
        });
        Ok(Self { port, kept })
    }

    /// How often somebody connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.kept.lock().map(|kept| kept.connections).unwrap_or_default()
    }

    /// Every request that came.
    #[must_use]
    pub fn came(&self) -> Vec<Came> {
        self.kept.lock().map(|kept| kept.came.clone()).unwrap_or_default()
    }
}

/// One request and its reply, on a connection of its own.
fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    kept: &Mutex<Kept>,
    port: u16,
) -> Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut reader = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let came = read(&mut reader)?;
    let header = |name: &str| {
        let mut pairs = came.head.lines().filter_map(|line| line.split_once(':'));
        let found = pairs.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let path = came.head.split(' ').nth(1).context("path")?.to_owned();
    let authorization = header("authorization");
    if let Ok(mut kept) = kept.lock() {
        kept.came.push(came);
    }
    let found = "200 OK".to_owned();
    let (status, body) = match path.as_str() {
        "/ok/plain" => (found, authorization.into_bytes()),
        "/ok/base64" => (found, base64::write(authorization.as_bytes()).into_bytes()),
        "/moved" => {
            let to = format!("302 Found\r\nlocation: https://{ADDRESS}:{port}/ok/target");
            (to, b"elsewhere".to_vec())
        }
        "/longest" => (found, vec![b'x'; REPLY_BYTES_MAX]),
        "/too-long" => (found, vec![b'x'; REPLY_BYTES_MAX + 1]),
        _ => (found, b"from outside".to_vec()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let mut stream = reader.into_inner();
    stream.write_all(&[head.into_bytes(), body].concat())?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

fn read(reader: &mut impl BufRead) -> Result<Came> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        anyhow::ensure!(reader.read_line(&mut line)? > 0, "cut off");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        head.push_str(&line);
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    Ok(Came { head, body })
}
