//! `krux pair`: first contact. The code pins the box's authority before anything is sent, and proves
//! both sides to each other under a secret that never crosses the network.

use crate::ended::{Ended, failed};
use crate::keep::{Keep, KnownBox};
use crate::remote::{HOST, Remote, resolve};
use crate::render;
use anyhow::{Context, Result};
use clap::Args;
use contract::digits::{hex, unhex};
use contract::issue::P256_KEY;
use contract::pairing::{
    BOX, CLIENT, PIN_BYTES, PROOF, Request, SECRET_BYTES, read_code, transcript,
};
use hmac::{Hmac, Mac};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// `krux pair`.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// The box's address, with `:7800` if the operators' port is another one here.
    pub(crate) address: String,
    /// The code that the box's console shows.
    #[arg(required_unless_present = "secret_file")]
    pub(crate) code: Option<String>,
    /// The file that `image/flash --operator` wrote, for a box without a console.
    #[arg(long, conflicts_with = "code", value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Your name there: lower-case letters, digits and `-`.
    #[arg(long)]
    pub(crate) name: String,
    /// What to call the box here.
    #[arg(long, default_value = "box")]
    pub(crate) as_box: String,
    /// The agents' address, where it is not the same host's port 7700.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) agents: Option<String>,
}

/// Takes any certificate: what it is worth is decided afterwards, before anything is sent.
#[derive(Debug)]
struct Capture(Arc<CryptoProvider>);

impl ServerCertVerifier for Capture {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// SHA-256 of a certificate's key (SubjectPublicKeyInfo).
pub(crate) fn key_digest(certificate: &[u8]) -> Result<[u8; 32]> {
    let certificate = CertificateDer::from(certificate);
    let parsed = ParsedCertificate::try_from(&certificate)?;
    Ok(Sha256::digest(parsed.subject_public_key_info().as_ref()).into())
}

/// Whether the key of a certificate signed a text (ECDSA with P-256 and SHA-256).
pub(crate) fn holds_under(certificate: &[u8], text: &[u8], signature: &[u8]) -> Result<bool> {
    use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    let certificate = CertificateDer::from(certificate);
    let parsed = ParsedCertificate::try_from(&certificate)?;
    let info = parsed.subject_public_key_info();
    let point = info.as_ref().strip_prefix(&P256_KEY[..]);
    let point = point.context("the authority's key is no P-256 key")?;
    Ok(UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(text, signature).is_ok())
}

/// The authority behind an address whose key's digest `fits`, after it was shown that the certificate
/// in use is that authority's.
fn pin(address: SocketAddr, fits: impl Fn(&[u8; 32]) -> bool) -> Result<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Capture(Arc::clone(&provider))))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from(HOST)?;
    let patience = Duration::from_secs(20);
    let unreachable = |error: std::io::Error| {
        failed(Ended::Unreachable, format!("{address} does not answer: {error}"))
    };
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(unreachable)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut connection = ClientConnection::new(Arc::new(config), name.clone())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(unreachable)?;
    }
    let chain = connection.peer_certificates().context("the box shows no certificate")?;
    let (leaf, rest) = chain.split_first().context("the box shows no certificate")?;
    let authority = rest.iter().find(|c| key_digest(c.as_ref()).is_ok_and(|digest| fits(&digest)));
    let other = "the box behind this address is not the one that showed the code";
    let authority = authority.ok_or_else(|| failed(Ended::NotVerified, other))?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()?
        .verify_server_cert(leaf, rest, &name, &[], UnixTime::now())?;
    Ok(authority.to_vec())
}

fn mac(secret: &[u8], text: &[u8]) -> Result<Hmac<Sha256>> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret).context("secret")?;
    mac.update(text);
    Ok(mac)
}

/// Pairs.
pub(crate) fn run(words: &Words, keep: &Keep, as_json: bool) -> Result<Ended> {
    let with_port = |port: u16| match words.address.rsplit_once(':') {
        Some((_, digits)) if digits.parse::<u16>().is_ok() => words.address.clone(),
        _ => format!("{}:{port}", words.address),
    };
    let host = words.address.rsplit_once(':').map_or(words.address.as_str(), |(host, _)| host);
    let address = with_port(7800);
    let agents = words.agents.clone().unwrap_or_else(|| format!("{host}:7700"));
    let to = resolve(&address)?;
    let (authority, secret) = match (&words.code, &words.secret_file) {
        (Some(code), _) => {
            let bytes = read_code(code).filter(|bytes| bytes.len() == PIN_BYTES + SECRET_BYTES);
            let bytes = bytes.context("the code has 32 letters and digits; read it again")?;
            let (pinned, secret) = bytes.split_at(PIN_BYTES);
            (pin(to, |digest| digest.starts_with(pinned))?, secret.to_vec())
        }
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).context("the secret's file")?;
            let secret = unhex(text.trim()).filter(|secret| secret.len() == 32);
            let secret = secret.context("the secret's file holds 64 hexadecimal digits")?;
            (prove(to, &secret)?, secret)
        }
        (None, None) => anyhow::bail!("give the code, or --secret-file"),
    };
    let digest = key_digest(&authority)?;
    let remote = Remote::new(to, &authority);
    let key = hex(keep.signing_key()?.verifying_key().as_bytes());
    let (name, recipient) = (words.name.clone(), keep.recipient()?);
    let text = transcript(CLIENT, &digest, &name, &key, &recipient);
    let request_mac = hex(&mac(&secret, &text)?.finalize().into_bytes());
    let expected = transcript(BOX, &digest, &name, &key, &recipient);
    let request = Request { name: name.clone(), key, recipient, mac: request_mac };
    let answer =
        remote.post("/v1/pair", &[], serde_json::to_string(&request)?.as_bytes())?.json()?;
    let given = answer.get("mac").and_then(Json::as_str).and_then(unhex).unwrap_or_default();
    if mac(&secret, &expected)?.verify_slice(&given).is_err() {
        return Err(failed(Ended::NotVerified, "the box does not know the code's secret"));
    }
    let (key_digest, authority) = (hex(&digest), hex(&authority));
    let known = KnownBox { address, agents, operator: name, key_digest, authority };
    keep.save_box(&words.as_box, &known)?;
    if as_json {
        render::object(&json!({ "box": words.as_box, "key_digest": known.key_digest }));
    } else {
        render::line(&format!("paired with `{}` as {}", words.as_box, known.operator));
        render::line(&format!("its authority: {}", known.key_digest));
    }
    Ok(Ended::Done)
}

/// The authority of a box without a console, which it proves under the shared secret.
fn prove(address: SocketAddr, secret: &[u8]) -> Result<Vec<u8>> {
    // whatever authority is shown first is asked for the proof; nothing of ours is sent before
    let authority = pin(address, |_| true)?;
    let answer = Remote::new(address, &authority).get("/v1/prove", &[])?.json()?;
    let given = answer.get("mac").and_then(Json::as_str).and_then(unhex).unwrap_or_default();
    let text = transcript(PROOF, &key_digest(&authority)?, "", "", "");
    match mac(secret, &text)?.verify_slice(&given) {
        Ok(()) => Ok(authority),
        Err(_mismatch) => {
            Err(failed(Ended::NotVerified, "the box behind this address does not know the secret"))
        }
    }
}

/// The authority's certificate in PEM (RFC 7468), for clients that take a file.
pub(crate) fn pem(certificate: &[u8]) -> String {
    let text = contract::base64::write(certificate);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
