//! A box, reached over TLS with its authority pinned: requests with their bounds, answers with the
//! exit code that they mean.

use crate::ended::{Ended, failed};
use crate::keep::{Keep, KnownBox};
use anyhow::{Context, Result};
use contract::digits::{hex, unhex};
use contract::statement::{Act, CONTEXT, Statement};
use ed25519_dalek::Signer;
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use ureq::config::Config;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// The name that every box's certificate holds, whatever its address.
pub(crate) const HOST: &str = "box.kruxos.internal";
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// An answer: its status, its media type, its body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) body: Vec<u8>,
}

/// One door of a box.
#[derive(Debug)]
pub(crate) struct Remote {
    agent: ureq::Agent,
}

#[derive(Debug)]
struct Only(SocketAddr);

impl Resolver for Only {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        if uri.host() != Some(HOST) {
            return Err(ureq::Error::HostNotFound);
        }
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

/// The first address that a name and port stand for.
pub(crate) fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address.to_socket_addrs().with_context(|| {
        format!("`{address}`: expected HOST:PORT, and a host that can be found")
    })?;
    found.next().with_context(|| format!("`{address}` has no address"))
}

impl Remote {
    /// The door at `address` of the box with this authority.
    pub(crate) fn new(address: SocketAddr, authority: &[u8]) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = RootCerts::new_with_certs(&[Certificate::from_der(authority).to_owned()]);
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(180)))
            .timeout_connect(Some(Duration::from_secs(20)))
            .max_response_header_size(16 << 10)
            .user_agent("krux")
            .build();
        Self { agent: ureq::Agent::with_parts(config, DefaultConnector::new(), Only(address)) }
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
        let request = self.agent.get(format!("https://{HOST}{path}"));
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answered(request.call())
    }

    pub(crate) fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let request = self.agent.post(format!("https://{HOST}{path}"));
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answered(request.send(body))
    }

    /// A call, or with no body a question after one, whose pieces are shown as they come; then its answer,
    /// as it is without them. Server-sent events (HTML standard, section 9.2), as this box writes them.
    pub(crate) fn follow(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
        piece: impl Fn(Json),
    ) -> Result<Response> {
        let url = format!("https://{HOST}{path}");
        let headers = headers.iter().chain(&[("accept", "text/event-stream")]);
        let answer = match body {
            Some(body) => {
                let request = self.agent.post(url);
                headers
                    .fold(request, |request, (name, value)| request.header(*name, *value))
                    .send(body)
            }
            None => {
                let request = self.agent.get(url);
                headers.fold(request, |request, (name, value)| request.header(*name, *value)).call()
            }
        };
        let answer = answer.map_err(|error| unreachable(&error))?;
        let media_type = answer.headers().get("content-type").and_then(|v| v.to_str().ok());
        if media_type != Some("text/event-stream") {
            return answered(Ok(answer));
        }
        let mut event = String::new();
        for line in BufReader::new(answer.into_body().into_reader().take(ANSWER_BYTES_MAX)).lines()
        {
            let line = line.context("the box's answer was cut off")?;
            let data = || serde_json::from_str(line.strip_prefix("data: ")?).ok();
            match (line.strip_prefix("event: "), event.as_str()) {
                (Some(name), _) => event = name.to_owned(),
                (None, "output") => data().into_iter().for_each(&piece),
                (None, "end") => {
                    let Some(end): Option<Json> = data() else { continue };
                    let status = end.get("status").and_then(Json::as_u64).unwrap_or_default();
                    let body = end.get("answer").map(Json::to_string).unwrap_or_default().into();
                    let status = u16::try_from(status).unwrap_or_default();
                    return Ok(Response { status, media_type: String::new(), body });
                }
                _ => {}
            }
        }
        Err(failed(Ended::Unreachable, "the box's answer was cut off".to_owned()))
    }
}

fn unreachable(error: &ureq::Error) -> anyhow::Error {
    failed(Ended::Unreachable, format!("the box does not answer: {error}"))
}

fn answered(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Response> {
    let mut answer = answer.map_err(|error| unreachable(&error))?;
    let status = answer.status().as_u16();
    let media_type = answer.headers().get("content-type").and_then(|v| v.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_owned();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    Ok(Response { status, media_type, body: body.map_err(|error| unreachable(&error))? })
}

impl Response {
    /// The JSON of a good answer; the error of another one, with its exit code.
    pub(crate) fn json(&self) -> Result<Json> {
        let json: Json = serde_json::from_slice(&self.body).unwrap_or_default();
        if (200..300).contains(&self.status) {
            return Ok(json);
        }
        let text = |name: &str| {
            json.pointer(&format!("/error/{name}")).and_then(Json::as_str).unwrap_or_default()
        };
        let ended = match self.status {
            401 => Ended::SignIn,
            403 => Ended::Denied,
            404 => Ended::NotFound,
            409 => Ended::Conflict,
            503 => Ended::Unreachable,
            _ => Ended::No,
        };
        let message = contract::effect::visible(text("message"));
        let next = contract::effect::visible(text("next"));
        let code = match text("code") {
            "" => format!("status {}", self.status),
            code => contract::effect::visible(code),
        };
        Err(failed(ended, format!("{code}: {message}\nnext: {next}")))
    }
}

/// An operator at a box: signs acts.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) keep: Keep,
    pub(crate) name: String,
    pub(crate) known: KnownBox,
    remote: Remote,
}

impl Desk {
    pub(crate) fn open(keep: Keep, name: Option<&str>) -> Result<Self> {
        let (name, known) = keep.find_box(name)?;
        let authority = unhex(&known.authority).context("the box's file is damaged")?;
        let remote = Remote::new(resolve(&known.address)?, &authority);
        Ok(Self { keep, name, known, remote })
    }

    /// The agents' door of the same box.
    pub(crate) fn agents(&self) -> Result<Remote> {
        let authority = unhex(&self.known.authority).context("the box's file is damaged")?;
        Ok(Remote::new(resolve(&self.known.agents)?, &authority))
    }

    /// Signs an act and sends it; the answer as it came.
    pub(crate) fn send(&self, act: Act, body: Option<&[u8]>) -> Result<Response> {
        let challenge = self.remote.post("/v1/challenge", &[], b"")?.json()?;
        let nonce = challenge.get("nonce").and_then(Json::as_str);
        let nonce = nonce.context("the box gave no number for a statement")?.to_owned();
        let (of_box, operator) = (self.known.key_digest.clone(), self.known.operator.clone());
        let statement = serde_json::to_string(&Statement { of_box, nonce, operator, act })?;
        let text = [CONTEXT, statement.as_bytes()].concat();
        let signature = hex(&self.keep.signing_key()?.sign(&text).to_bytes());
        let signature = ("kruxos-signature", signature.as_str());
        match body {
            None => self.remote.post("/v1/act", &[signature], statement.as_bytes()),
            Some(body) => {
                let statement = hex(statement.as_bytes());
                let headers = [signature, ("kruxos-statement", statement.as_str())];
                self.remote.post("/v1/act", &headers, body)
            }
        }
    }

    /// The same, for answers that are JSON.
    pub(crate) fn act(&self, act: Act) -> Result<Json> {
        self.send(act, None)?.json()
    }

    /// An act that a service performs; its result.
    pub(crate) fn perform(&self, name: &str, input: &str) -> Result<Json> {
        let (name, input) = (name.to_owned(), input.to_owned());
        result(self.act(Act::Perform { name, input, body: None })?)
    }

    /// An act that a service performs, whose input is too long for a statement.
    pub(crate) fn perform_with(&self, name: &str, input: &str) -> Result<Json> {
        let body = Some(sha256(input.as_bytes()));
        let act = Act::Perform { name: name.to_owned(), input: String::new(), body };
        result(self.send(act, Some(input.as_bytes()))?.json()?)
    }
}

fn result(mut json: Json) -> Result<Json> {
    Ok(json.get_mut("result").map(Json::take).unwrap_or(json))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex(&Sha256::digest(bytes))
}
