//! The door's own short-lived key and certificate. The key is made at each start and never leaves the
//! process; the vault certifies it for the box's names and for those of its addresses that clients
//! came to, anew when a client comes to another one.

use crate::DoorError;
use crate::watched::watch;
use channel::{Channel, Mailbox};
use contract::bytes::Bytes;
use contract::issue::{ADDRESSES_MAX, FromCertifier, P256_KEY, ToCertifier, VERSION};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A certificate is good for thirty days; long before that there is a new one.
const RENEW: Duration = Duration::from_secs(24 * 3_600);
/// How long a connection waits for a certificate that covers its address.
const COVER: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct State {
    mailbox: Option<Mailbox>,
    /// Which edge to the vault this is, counted.
    edge: u64,
    addresses: Vec<IpAddr>,
    /// Addresses that the certificate in use covers.
    covered: Vec<IpAddr>,
    asked: Vec<IpAddr>,
    current: Option<Arc<CertifiedKey>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    key: Arc<dyn SigningKey>,
    public: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

/// What all connections share of it.
#[derive(Debug, Clone)]
pub(crate) struct Certificates(Arc<Shared>);

#[derive(Debug)]
struct Resolver(Certificates);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.state().current.clone()
    }
}

impl Certificates {
    /// Makes the key.
    pub(crate) fn new() -> Result<Self, DoorError> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
            .map_err(|_error| DoorError::Key("it cannot be made"))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)
            .map_err(|_error| DoorError::Key("it cannot be read"))?;
        let public = [&P256_KEY[..], pair.public_key().as_ref()].concat();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()));
        let key = rustls::crypto::ring::sign::any_ecdsa_type(&der)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let state = State {
            mailbox: None,
            edge: 0,
            addresses,
            covered: Vec::new(),
            asked: Vec::new(),
            current: None,
        };
        let changed = Notify::new();
        Ok(Self(Arc::new(Shared { state: Mutex::new(state), changed, key, public, provider })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // a holder that panicked would have ended the process
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.0.provider)
    }

    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Resolver(self.clone()))
    }

    pub(crate) fn is_certified(&self) -> bool {
        self.state().current.is_some()
    }

    /// Returns when there is another certificate.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Takes a new edge to the vault and asks for a certificate.
    pub(crate) fn connect(&self, edge: Channel) -> std::io::Result<()> {
        let readable = watch(edge.as_fd().try_clone_to_owned()?)?;
        let edge_number = {
            let mut state = self.state();
            state.mailbox = Some(Mailbox::new(edge));
            state.edge += 1;
            state.edge
        };
        self.ask();
        let certificates = self.clone();
        tokio::spawn(async move {
            loop {
                match tokio::time::timeout(RENEW, readable.readable()).await {
                    Ok(Ok(mut guard)) => {
                        guard.clear_ready();
                        if !certificates.take(edge_number) {
                            return;
                        }
                    }
                    Ok(Err(_error)) => return,
                    Err(_a_day_later) => certificates.ask(),
                }
            }
        });
        Ok(())
    }

    fn ask(&self) {
        let mut state = self.state();
        let addresses: Vec<String> = state.addresses.iter().map(ToString::to_string).collect();
        let message = ToCertifier::Certify { key: Bytes(self.0.public.clone()), addresses };
        state.asked = state.addresses.clone();
        if let Some(mailbox) = &mut state.mailbox {
            // a vault that is gone comes back with a new edge, on which this is asked again
            mailbox.post(&(VERSION, message), Vec::new()).ok();
        }
    }

    /// Takes a certificate; false when the vault is gone, or has another edge by now: an end of file
    /// is readable for ever.
    fn take(&self, edge: u64) -> bool {
        let mut state = self.state();
        if state.edge != edge {
            return false;
        }
        let Some(mailbox) = &state.mailbox else { return false };
        let taken = mailbox.take().and_then(|frame| frame.open(|_: &(u16, FromCertifier)| 0));
        match taken {
            Ok(((VERSION, FromCertifier::Certified { certificate, authority }), _)) => {
                let chain =
                    vec![CertificateDer::from(certificate.0), CertificateDer::from(authority.0)];
                state.current = Some(Arc::new(CertifiedKey::new(chain, Arc::clone(&self.0.key))));
                state.covered = state.asked.clone();
                drop(state);
                self.0.changed.notify_waiters();
                true
            }
            Err(channel::ChannelError::WouldBlock) => true,
            Ok(_) | Err(_) => false,
        }
    }

    /// Makes sure that the certificate names the address that a client came to.
    pub(crate) async fn cover(&self, address: IpAddr) {
        let covered = tokio::time::timeout(COVER, async {
            loop {
                let changed = self.0.changed.notified();
                {
                    let mut state = self.state();
                    if state.covered.contains(&address) || state.addresses.len() >= ADDRESSES_MAX {
                        return;
                    }
                    if !state.addresses.contains(&address) {
                        state.addresses.push(address);
                        drop(state);
                        self.ask();
                    }
                }
                changed.await;
            }
        });
        // without one the client is told what it would be told anyway: the name does not fit
        covered.await.ok();
    }
}
