//! Egress's link to the vault: one value for one released call. A vault that is replaced forgets what it was asked.

use crate::watched::watch;
use channel::{Channel, ChannelError, Mailbox, sealed};
use contract::cbor;
use contract::lend::{FromVault, Lent, NotLent, ToVault, VERSION};
use contract::perform::CallId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Longest wait for a value.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest [`Lent`], as it is written down.
const LENT_BYTES_MAX: u64 = 256 << 10;

type Key = (CallId, String);
type Answered = Result<(OwnedFd, u64), NotLent>;

#[derive(Default)]
struct Link {
    mailbox: Option<Mailbox>,
    /// Which edge to the vault this is, counted.
    edge: u64,
    waiting: BTreeMap<Key, oneshot::Sender<Answered>>,
}

/// The link, shared by all calls.
#[derive(Clone, Default)]
pub(crate) struct Vault(Rc<RefCell<Link>>);

impl Vault {
    /// Takes a new edge; who waits for the old vault is told.
    pub(crate) fn connect(&self, edge: Channel) -> std::io::Result<()> {
        let readable = watch(edge.as_fd().try_clone_to_owned()?)?;
        let number = {
            let mut link = self.0.borrow_mut();
            link.waiting.clear();
            link.mailbox = Some(Mailbox::new(edge));
            link.edge += 1;
            link.edge
        };
        let link = self.clone();
        tokio::task::spawn_local(async move {
            while let Ok(mut guard) = readable.readable().await {
                guard.clear_ready();
                if link.take_all(number).is_err() {
                    break;
                }
            }
            let mut link = link.0.borrow_mut();
            if link.edge == number {
                link.mailbox = None;
                link.waiting.clear();
            }
        });
        Ok(())
    }

    /// Takes what is there; an error when this edge has ended or is not the one of now.
    fn take_all(&self, number: u64) -> Result<(), ChannelError> {
        let mut link = self.0.borrow_mut();
        loop {
            if link.edge != number {
                return Err(ChannelError::Closed);
            }
            let Some(mailbox) = &mut link.mailbox else { return Err(ChannelError::Closed) };
            mailbox.push()?;
            let frame = match mailbox.take() {
                Err(ChannelError::WouldBlock) => return Ok(()),
                other => other?,
            };
            let ((version, message), fds) = frame.open(|(_, message): &(u16, FromVault)| {
                usize::from(matches!(message, FromVault::Lent { .. }))
            })?;
            let (key, answered) = match (version, message, fds.into_iter().next()) {
                (VERSION, FromVault::Lent { call, name, version }, Some(file)) => {
                    ((call, name), Ok((file, version)))
                }
                (VERSION, FromVault::NotLent { call, name, why }, None) => ((call, name), Err(why)),
                _ => return Err(ChannelError::Closed),
            };
            if let Some(waiting) = link.waiting.remove(&key) {
                // the call may be over
                waiting.send(answered).ok();
            }
        }
    }

    /// Borrows a secret for a call, with the number of its version; the code of the failure otherwise.
    pub(crate) async fn lend(&self, call: CallId, name: &str) -> Result<(Lent, u64), &'static str> {
        let key = (call, name.to_owned());
        let receiver = {
            let mut link = self.0.borrow_mut();
            let asked = ToVault::Lend { call, name: name.to_owned() };
            let mailbox = link.mailbox.as_mut().ok_or("vault_locked")?;
            mailbox.post(&(VERSION, asked), Vec::new()).map_err(|_gone| "vault_locked")?;
            let (sender, receiver) = oneshot::channel();
            link.waiting.insert(key.clone(), sender);
            receiver
        };
        let answered = tokio::time::timeout(ANSWER, receiver).await;
        self.0.borrow_mut().waiting.remove(&key);
        let (file, version) = match answered {
            Ok(Ok(Ok(lent))) => lent,
            Ok(Ok(Err(NotLent::NotBound | NotLent::NoTicket))) => return Err("secret_refused"),
            Ok(Ok(Err(NotLent::Locked)) | Err(_)) | Err(_) => return Err("vault_locked"),
        };
        let bytes = sealed::read(&file, LENT_BYTES_MAX).map_err(|_broken| "vault_locked")?;
        let lent = cbor::decode(&Zeroizing::new(bytes)).map_err(|_broken| "vault_locked")?;
        Ok((lent, version))
    }
}
