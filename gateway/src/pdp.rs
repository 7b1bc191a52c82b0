//! The door's conversation with pdp: requests by number, answers as they come. When pdp is replaced,
//! everybody who waits is told that it was interrupted.

use crate::watched::watch;
use channel::{Channel, ChannelError, Mailbox};
use contract::door::{FromDoor, Status, ToDoor, VERSION};
use contract::perform::{CallId, Used};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest wait for an answer: a call's own deadline is shorter.
const ANSWER: Duration = Duration::from_secs(120);
/// Most requests that wait at once.
const WAITING_MAX: usize = 512;

/// What pdp answered.
#[derive(Debug)]
pub(crate) enum Answered {
    Said { status: Status, json: String },
    File { media_type: String, file: OwnedFd },
    Ended { call: CallId, code: String, used: Used },
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// pdp is not there; nothing was asked.
    NotThere,
    /// pdp went away or was silent after it was asked: the call may have been performed.
    Interrupted,
    /// Too many requests wait already.
    Busy,
}

/// Who waits for an answer.
#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answered>,
    /// Of a call that streams: to be told that it may begin.
    begun: Option<oneshot::Sender<CallId>>,
}

#[derive(Debug, Default)]
struct Link {
    mailbox: Option<Mailbox>,
    /// Which edge to pdp this is, counted.
    edge: u64,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    refused: BTreeMap<(String, String), u64>,
}

/// The link to pdp, shared by all connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pdp(Arc<Mutex<Link>>);

impl Pdp {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        // a holder that panicked would have ended the process
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new edge; who waits for the old pdp is told.
    pub(crate) fn connect(&self, edge: Channel) -> std::io::Result<()> {
        let readable = watch(edge.as_fd().try_clone_to_owned()?)?;
        let number = {
            let mut link = self.link();
            link.waiting.clear();
            link.mailbox = Some(Mailbox::new(edge));
            link.edge += 1;
            link.edge
        };
        let link = self.clone();
        tokio::spawn(async move {
            while let Ok(mut guard) = readable.readable().await {
                guard.clear_ready();
                if link.take_all(number).is_err() {
                    break;
                }
            }
            link.lose(number);
        });
        Ok(())
    }

    fn lose(&self, edge: u64) {
        let mut link = self.link();
        if link.edge == edge {
            link.mailbox = None;
            link.waiting.clear();
        }
    }

    /// Takes what is there; an error when this edge has ended or is not the one of now: an end of file is
    /// readable for ever, and a task that came back to it would never let another run.
    fn take_all(&self, edge: u64) -> Result<(), ChannelError> {
        let mut link = self.link();
        if link.edge != edge {
            return Err(ChannelError::Closed);
        }
        loop {
            let Some(mailbox) = &mut link.mailbox else { return Err(ChannelError::Closed) };
            mailbox.push()?;
            let frame = match mailbox.take() {
                Err(ChannelError::WouldBlock) => return Ok(()),
                other => other?,
            };
            let ((version, message), fds) = frame.open(|(_, message): &(u16, ToDoor)| {
                usize::from(matches!(message, ToDoor::File { .. }))
            })?;
            if version != VERSION {
                return Err(ChannelError::Closed);
            }
            let (number, answered) = match message {
                ToDoor::Begun { number, call } => {
                    let waiting = link.waiting.get_mut(&number);
                    if let Some(begun) = waiting.and_then(|waiting| waiting.begun.take()) {
                        begun.send(call).ok();
                    }
                    continue;
                }
                ToDoor::Said { number, status, json } => (number, Answered::Said { status, json }),
                ToDoor::Ended { number, call, code, used } => {
                    (number, Answered::Ended { call, code, used })
                }
                ToDoor::File { number, media_type } => match fds.into_iter().next() {
                    Some(file) => (number, Answered::File { media_type, file }),
                    None => return Err(ChannelError::Closed),
                },
            };
            if let Some(waiting) = link.waiting.remove(&number) {
                // the client may be gone
                waiting.answer.send(answered).ok();
            }
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(
        &self,
        message: impl FnOnce(u64) -> FromDoor,
        fds: Vec<OwnedFd>,
    ) -> Result<Answered, NoAnswer> {
        self.ask_for(message, fds, None).await
    }

    /// The same; `begun` is told when a call that streams may begin.
    pub(crate) async fn ask_for(
        &self,
        message: impl FnOnce(u64) -> FromDoor,
        fds: Vec<OwnedFd>,
        begun: Option<oneshot::Sender<CallId>>,
    ) -> Result<Answered, NoAnswer> {
        let (number, receiver) = {
            let mut link = self.link();
            link.waiting.retain(|_, waiting| !waiting.answer.is_closed());
            if link.waiting.len() >= WAITING_MAX {
                return Err(NoAnswer::Busy);
            }
            link.next += 1;
            let number = link.next;
            let mailbox = link.mailbox.as_mut().ok_or(NoAnswer::NotThere)?;
            mailbox.post(&(VERSION, message(number)), fds).map_err(|_error| NoAnswer::NotThere)?;
            let (answer, receiver) = oneshot::channel();
            link.waiting.insert(number, Waiting { answer, begun });
            (number, receiver)
        };
        let answered = tokio::time::timeout(ANSWER, receiver).await;
        self.link().waiting.remove(&number);
        match answered {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(_)) | Err(_) => Err(NoAnswer::Interrupted),
        }
    }

    /// Counts a request that was refused before it was a call.
    pub(crate) fn refused(&self, source: &str, reason: &str) {
        const SOURCES_MAX: usize = 1_024;
        let mut link = self.link();
        let key = if link.refused.len() < SOURCES_MAX {
            (source.to_owned(), reason.to_owned())
        } else {
            ("others".to_owned(), reason.to_owned())
        };
        *link.refused.entry(key).or_default() += 1;
    }
}

/// Tells pdp once a second what was refused, and pushes what had no room.
pub(crate) async fn report_refused(pdp: Pdp) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let mut link = pdp.link();
        let refused = std::mem::take(&mut link.refused);
        let Some(mailbox) = &mut link.mailbox else { continue };
        for ((source, reason), count) in refused {
            let message = FromDoor::Refused { source, reason, count };
            // a pdp that is gone is replaced, and what was counted with it
            mailbox.post(&(VERSION, message), Vec::new()).ok();
        }
        mailbox.push().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::SocketFlags;

    /// A link whose other end nobody serves.
    fn linked() -> (Pdp, Channel) {
        let (ours, theirs) = Channel::pair(SocketFlags::NONBLOCK).unwrap();
        let pdp = Pdp::new();
        pdp.connect(Channel::new(ours)).unwrap();
        (pdp, Channel::new(theirs))
    }

    async fn ask(pdp: Pdp) -> Option<NoAnswer> {
        pdp.ask(|number| FromDoor::Challenge { number }, Vec::new()).await.err()
    }

    #[tokio::test]
    async fn nobody_waits_for_a_pdp_that_is_gone() {
        assert_eq!(ask(Pdp::new()).await, Some(NoAnswer::NotThere));
        let (pdp, theirs) = linked();
        let asked = tokio::spawn(ask(pdp.clone()));
        tokio::task::yield_now().await;
        drop(theirs);
        assert_eq!(asked.await.unwrap(), Some(NoAnswer::Interrupted));
    }

    #[tokio::test]
    async fn no_more_than_the_bound_wait_at_once() {
        let (pdp, _theirs) = linked();
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| tokio::spawn(ask(pdp.clone()))).collect();
        while pdp.link().waiting.len() < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(pdp).await, Some(NoAnswer::Busy));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
