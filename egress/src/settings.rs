//! What operators set of the network: name servers in place of the leases' ones, and private authorities, each for the
//! hosts that it may speak for and for no other. Kept in one file, replaced whole.

use contract::url::Host;
use linux::file;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most authorities, most hosts of one, and how long one may be as PEM.
const AUTHORITIES_MAX: usize = 16;
const HOSTS_MAX: usize = 32;
const PEM_BYTES_MAX: usize = 16 << 10;
const SERVERS_MAX: usize = 4;
const NAME_BYTES_MAX: usize = 32;

/// What came of an act: the answer, or a code and what to do.
pub(crate) type Done = Result<Json, (&'static str, String)>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    servers: Vec<IpAddr>,
    authorities: Vec<Authority>,
}

/// A private authority.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Authority {
    name: String,
    /// Names, or `*.` and a name for all beneath it.
    hosts: Vec<String>,
    pem: String,
}

/// The settings in force.
pub(crate) struct Settings {
    path: PathBuf,
    kept: Kept,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Servers {
    servers: Vec<IpAddr>,
}

impl Settings {
    /// Reads the file in this folder, if there is one.
    pub(crate) fn open(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join("settings.json");
        let kept = match file::read(&path)? {
            Some(bytes) => serde_json::from_slice(&bytes)?,
            None => Kept::default(),
        };
        Ok(Self { path, kept })
    }

    /// The name servers to ask: an operator's, or those of the leases.
    pub(crate) fn servers(&self, leased: &[IpAddr]) -> Vec<SocketAddr> {
        let own = &self.kept.servers;
        let servers = if own.is_empty() { leased } else { own.as_slice() };
        servers.iter().map(|server| SocketAddr::new(*server, crate::names::PORT)).collect()
    }

    /// Performs one act of an operator.
    pub(crate) fn act(&mut self, name: &str, input: &[u8]) -> Done {
        let bad = |error: serde_json::Error| ("bad_input", error.to_string());
        match name {
            "egress.status" => Ok(self.status()),
            "egress.resolver" => {
                let Servers { servers } = serde_json::from_slice(input).map_err(bad)?;
                if servers.len() > SERVERS_MAX {
                    return Err(("bad_input", format!("at most {SERVERS_MAX} servers")));
                }
                self.keep(Kept { servers, ..self.kept.clone() })
            }
            "egress.trust" => {
                let authority: Authority = serde_json::from_slice(input).map_err(bad)?;
                check(&authority)?;
                let mut kept = self.kept.clone();
                kept.authorities.retain(|known| known.name != authority.name);
                if kept.authorities.len() >= AUTHORITIES_MAX {
                    return Err(("too_many", format!("at most {AUTHORITIES_MAX} authorities")));
                }
                kept.authorities.push(authority);
                self.keep(kept)
            }
            "egress.distrust" => {
                let Named { name } = serde_json::from_slice(input).map_err(bad)?;
                let mut kept = self.kept.clone();
                kept.authorities.retain(|known| known.name != name);
                if kept.authorities.len() == self.kept.authorities.len() {
                    return Err(("not_found", format!("no authority `{name}`; list them")));
                }
                self.keep(kept)
            }
            _ => Err(("unknown_act", format!("egress does not know `{name}`"))),
        }
    }

    fn keep(&mut self, kept: Kept) -> Done {
        let failed = |error: &dyn std::fmt::Display| ("failed", format!("the settings: {error}"));
        let bytes = serde_json::to_vec(&kept).map_err(|error| failed(&error))?;
        file::replace(&self.path, &bytes).map_err(|error| failed(&error))?;
        self.kept = kept;
        Ok(self.status())
    }

    fn status(&self) -> Json {
        let of = |it: &Authority| json!({ "name": it.name, "hosts": it.hosts });
        let authorities: Vec<Json> = self.kept.authorities.iter().map(of).collect();
        json!({ "servers": self.kept.servers, "authorities": authorities })
    }

    /// How TLS is spoken with this host: verified always, by the public authorities and those for it.
    pub(crate) fn tls(&self, host: &Host) -> Result<ClientConfig, &'static str> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let named = host.to_string();
        for authority in self.kept.authorities.iter().filter(|it| it.speaks_for(&named)) {
            for certificate in certificates(&authority.pem)? {
                roots.add(certificate).map_err(|_bad| "not_trusted")?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_bad| "not_trusted")?
            .with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // a ticket would tell a server that two calls are of one agent, or of two
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

impl Authority {
    fn speaks_for(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(above) => host.strip_suffix(above).is_some_and(|label| !label.is_empty()),
            None => pattern == host,
        })
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_bad| "not_trusted")
}

fn check(authority: &Authority) -> Result<(), (&'static str, String)> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let name = &authority.name;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let wanted = format!("`name`: lower-case letters, digits, `-`, at most {NAME_BYTES_MAX}");
        return Err(("bad_input", wanted));
    }
    let is_host = |pattern: &String| {
        let bare = pattern.strip_prefix("*.").unwrap_or(pattern);
        Host::parse(bare).is_ok_and(|host| host.to_string() == bare)
    };
    let hosts = &authority.hosts;
    if hosts.is_empty() || hosts.len() > HOSTS_MAX || !hosts.iter().all(is_host) {
        let wanted = "`hosts`: 1 to 32 of `git.corp.example`, `*.corp.example`, an address";
        return Err(("bad_input", wanted.to_owned()));
    }
    let bad = || ("bad_input", "`pem`: certificates as PEM, at most 16 KiB".to_owned());
    if authority.pem.len() > PEM_BYTES_MAX {
        return Err(bad());
    }
    let found = certificates(&authority.pem).map_err(|_code| bad())?;
    let mut roots = RootCertStore::empty();
    let usable = !found.is_empty() && found.into_iter().all(|one| roots.add(one).is_ok());
    if usable { Ok(()) } else { Err(bad()) }
}
