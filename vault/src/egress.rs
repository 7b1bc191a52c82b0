//! The edge to egress, which asks for one value after the other. An answer is one frame; a value goes as a sealed file.

use channel::{ChannelError, Mailbox, sealed};
use contract::cbor;
use contract::lend::{FromVault, Lent, NotLent, ToVault, VERSION};
use contract::perform::CallId;
use std::os::fd::OwnedFd;
use zeroize::{Zeroize, Zeroizing};

/// What egress asks for: nothing while nothing is there.
///
/// # Errors
/// Anything but a question of this version: such a peer is broken or hostile.
pub(crate) fn take(peer: &Mailbox) -> Result<Option<(CallId, String)>, ChannelError> {
    match peer.take().and_then(|frame| frame.open(|_: &(u16, ToVault)| 0)) {
        Ok(((VERSION, ToVault::Lend { call, name }), _)) => Ok(Some((call, name))),
        Err(ChannelError::WouldBlock) => Ok(None),
        Ok(_) => Err(ChannelError::Closed),
        Err(error) => Err(error),
    }
}

/// Says what became of a question.
///
/// # Errors
/// As [`Mailbox::post`].
pub(crate) fn answer(
    peer: &mut Mailbox,
    (call, name): (CallId, String),
    lent: Result<(u64, Lent), NotLent>,
) -> Result<(), ChannelError> {
    let (message, files) = match lent {
        Ok((version, mut lent)) => {
            let file = file(&lent);
            lent.value.0.zeroize();
            lent.hides.iter_mut().for_each(|part| part.0.zeroize());
            (FromVault::Lent { call, name, version }, vec![file?])
        }
        Err(why) => (FromVault::NotLent { call, name, why }, Vec::new()),
    };
    peer.post(&(VERSION, message), files)
}

fn file(lent: &Lent) -> Result<OwnedFd, ChannelError> {
    sealed::holding(&Zeroizing::new(cbor::encode(lent)?))
}
