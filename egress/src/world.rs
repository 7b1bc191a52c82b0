//! A world of the tests' own: a network beside the test's, with name servers and web servers that do what they are told,
//! and an authority that nobody else trusts. No packet leaves it.

mod framing;
mod http2;
mod lookups;
mod secrets;
mod trust;
mod webhooks;

use crate::connection::Idle;
use crate::lend::Vault;
use crate::request;
use crate::settings::Settings;
use crate::shared::Shared;
use capabilities::find;
use channel::{Channel, sealed};
use contract::bytes::Bytes;
use contract::cbor;
use contract::lend::{FromVault, Lent, NotLent, ToVault, VERSION};
use contract::links::Links;
use contract::perform::{AddressRange, AgentPlace, Limits, Spec};
use linux::cable;
use linux::cage::Namespace;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::net::SocketFlags;
use rustix::thread::LinkNameSpaceType;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use tokio::task::LocalSet;

/// The box's end, and the machines of the world.
pub(super) const BOX: &str = "198.51.100.1";
pub(super) const RESOLVER: &str = "198.51.100.53";
pub(super) const WEB: &str = "198.51.100.80";
pub(super) const OTHER: &str = "198.51.100.81";
pub(super) const PRIVATE: &str = "10.9.9.80";
pub(super) const METADATA: &str = "169.254.169.254";
pub(super) const WEB6: &str = "2001:db8:5::80";
const MACHINES: [(&str, u8); 6] =
    [(RESOLVER, 24), (WEB, 24), (OTHER, 24), (PRIVATE, 24), (METADATA, 16), (WEB6, 64)];

/// The two networks. The thread that makes it stays in the box's one.
pub(super) struct World {
    home: Namespace,
    outside: Namespace,
    pub(super) authority: Authority,
}

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// What a server has seen: each request as it came, and how many connections.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<(Vec<String>, usize)>>);

impl Seen {
    pub(super) fn requests(&self) -> Vec<String> {
        self.0.lock().unwrap().0.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let base64 = contract::base64::write(params.self_signed(&key).unwrap().der());
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let lines = lines.join("\n");
        let pem = format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n");
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// How a server speaks TLS as one of these names; `old`: with a certificate that is over.
    pub(super) fn server(&self, names: &[&str], old: bool) -> rustls::ServerConfig {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if old {
            params.not_after = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(15_000);
        }
        let key = KeyPair::generate().unwrap();
        let leaf: CertificateDer<'static> =
            params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], key)
            .unwrap()
    }
}

impl World {
    pub(super) fn new() -> Self {
        let kind = LinkNameSpaceType::Network;
        let host = Namespace::of(None, kind).unwrap();
        Namespace::enter_new_network().unwrap();
        let home = Namespace::of(None, kind).unwrap();
        assert!(!home.is(&host), "this is the machine's own network");
        cable::up("lo").unwrap();
        let outside = Namespace::new_network(&home).unwrap();
        cable::make("world", "box", outside.as_fd()).unwrap();
        cable::up("world").unwrap();
        for (near, bits) in
            [(BOX, 24), ("10.9.9.1", 24), ("169.254.1.1", 16), ("2001:db8:5::1", 64)]
        {
            cable::address("world", near.parse().unwrap(), bits).unwrap();
        }
        let world = Self { home, outside, authority: Authority::new() };
        world.outside(|| {
            cable::up("box").unwrap();
            for (machine, bits) in MACHINES {
                cable::address("box", machine.parse().unwrap(), bits).unwrap();
            }
        });
        world
    }

    /// Does something in the world's network.
    pub(super) fn outside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let done = || Ok::<_, linux::KernelError>(std::thread::spawn(work).join());
        self.outside.inside(&self.home, done).unwrap().unwrap()
    }

    /// A server: for each request, which it keeps, it writes what `reply` says; an empty reply ends the connection.
    pub(super) fn serve(
        &self,
        at: &str,
        port: u16,
        tls: Option<rustls::ServerConfig>,
        reply: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Seen {
        let seen = Seen::default();
        let at = SocketAddr::new(at.parse().unwrap(), port);
        let listener = self.outside(move || TcpListener::bind(at).unwrap());
        let (kept, tls, reply) = (seen.clone(), tls.map(Arc::new), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                kept.0.lock().unwrap().1 += 1;
                let (kept, reply) = (kept.clone(), Arc::clone(&reply));
                let tls = tls.clone();
                std::thread::spawn(move || match tls {
                    None => talk(stream, &kept, reply.as_ref()),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        talk(rustls::StreamOwned::new(connection, stream), &kept, reply.as_ref());
                    }
                });
            }
        });
        seen
    }

    /// A server of the world's authority that answers each request with this body.
    pub(super) fn plain(&self, at: &str, names: &[&str], body: &'static str) -> Seen {
        self.serve(at, 443, Some(self.authority.server(names, false)), move |_| ok(body.as_bytes()))
    }
}

/// A reply with a body.
pub(super) fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Reads requests and writes replies until one side ends.
fn talk(mut stream: impl Read + Write, seen: &Seen, reply: &dyn Fn(&str) -> Vec<u8>) {
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let Ok(count @ 1..) = stream.read(&mut chunk) else { return };
        text.extend_from_slice(&chunk[..count]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.map_or(0, |length| length.parse().unwrap()) {
            continue;
        }
        text.clear();
        seen.0.lock().unwrap().0.push(whole.clone());
        let reply = reply(&whole);
        if reply.is_empty() || stream.write_all(&reply).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// One egress, with what the vault would lend it.
pub(super) struct Box {
    pub(super) shared: Rc<Shared>,
    /// Name to value, for any call.
    pub(super) secrets: Rc<RefCell<BTreeMap<String, (String, u64)>>>,
}

impl Box {
    /// One that asks the world's name server, and trusts its authority for these hosts.
    pub(super) fn new(world: &World, hosts: &[&str]) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("egress-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut settings = Settings::open(&folder).unwrap();
        let trust = json!({ "name": "world", "hosts": hosts, "pem": world.authority.pem });
        settings.act("egress.trust", trust.to_string().as_bytes()).unwrap();
        // what was kept is what a new start reads
        let settings = RefCell::new(Settings::open(&folder).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
        let of = |text: &&str| text.parse().unwrap();
        let links = RefCell::new(Links {
            servers: vec![of(&RESOLVER)],
            addresses: [BOX, "10.9.9.1", "169.254.1.1", "2001:db8:5::1", "127.0.0.1", "::1"]
                .iter()
                .map(of)
                .collect(),
        });
        let (vault, idle) = (Vault::default(), Idle::default());
        let shared = Rc::new(Shared { vault, idle, settings, links });
        Self { shared, secrets: Rc::default() }
    }

    /// Lends what there is, once for each question.
    fn lender(&self) {
        let (ours, theirs) = Channel::pair(SocketFlags::NONBLOCK).unwrap();
        self.shared.vault.connect(Channel::new(ours)).unwrap();
        let theirs = Channel::new(theirs);
        let secrets = Rc::clone(&self.secrets);
        tokio::task::spawn_local(async move {
            let watched =
                crate::watched::watch(theirs.as_fd().try_clone_to_owned().unwrap()).unwrap();
            while let Ok(mut guard) = watched.readable().await {
                guard.clear_ready();
                while let Ok(frame) = theirs.receive_now() {
                    let ((_, ToVault::Lend { call, name }), _) =
                        frame.open(|_: &(u16, ToVault)| 0).unwrap();
                    let found = secrets.borrow().get(&name).cloned();
                    match found {
                        Some((value, version)) => {
                            let value = Bytes(value.into_bytes());
                            let lent = Lent { hides: vec![value.clone()], value };
                            let file = sealed::holding(&cbor::encode(&lent).unwrap()).unwrap();
                            let said = FromVault::Lent { call, name, version };
                            theirs.send(&(VERSION, said), &[file.as_fd()]).unwrap();
                        }
                        None => {
                            let said = FromVault::NotLent { call, name, why: NotLent::NotBound };
                            theirs.send(&(VERSION, said), &[]).unwrap();
                        }
                    }
                }
            }
        });
    }

    /// Does something as egress does, in its event loop.
    pub(super) fn run<T>(&self, work: impl AsyncFnOnce(&Shared) -> T) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            self.lender();
            work(&self.shared).await
        })
    }

    /// One request of `agent`, which may lead wherever the policy of `reach` lets it.
    pub(super) fn request(&self, input: &Json) -> Result<Json, &'static str> {
        self.run(async |shared| ask(shared, "a", input).await)
    }
}

/// All public addresses, as a policy that names none leaves them.
pub(super) fn public() -> Vec<AddressRange> {
    let range = |first: &str, last: &str| AddressRange {
        first: first.parse::<IpAddr>().unwrap(),
        last: last.parse().unwrap(),
    };
    vec![
        range("11.0.0.0", "126.255.255.255"),
        range("128.0.0.0", "169.253.255.255"),
        range("193.0.0.0", "223.255.255.255"),
        range("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ]
}

/// One request of an agent.
pub(super) async fn ask(shared: &Shared, agent: &str, input: &Json) -> Result<Json, &'static str> {
    let declaration = find("network.http_request").unwrap();
    let accepted = declaration.accept(input).map_err(|_refused| "bad_input")?;
    let spec = Spec {
        call: [1; 16],
        capability: declaration.id(),
        agent: AgentPlace { name: agent.to_owned(), disk_uid: 200_000 },
        effects: declaration.lower(&accepted).unwrap(),
        input: [0; 32],
        limits: Limits::MOST,
        alone: false,
        streams: false,
        reach: public(),
    };
    request::perform(shared, &spec, &accepted).await
}
