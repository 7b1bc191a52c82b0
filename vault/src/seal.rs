//! age files in memory: what is opened is zeroed when it is dropped, and never moves while it is read.

use age::secrecy::SecretString;
use age::x25519::{Identity, Recipient};
use age::{Decryptor, scrypt};
use std::io::Read;
use zeroize::Zeroizing;

/// scrypt's cost is two to this power: 32 MiB and a tenth of a second. Tests make hundreds.
const WORK_FACTOR: u8 = if cfg!(test) { 4 } else { 15 };

/// Bytes that are zeroed when they are dropped.
pub(crate) type Plain = Zeroizing<Vec<u8>>;

/// What an age file holds, if it is for this identity.
pub(crate) fn open(identity: &dyn age::Identity, sealed: &[u8]) -> Option<Plain> {
    let decryptor = Decryptor::new_buffered(sealed).ok()?;
    let mut reader = decryptor.decrypt(std::iter::once(identity)).ok()?;
    // a plain text is shorter than its age file: this never grows, so no copy stays behind
    let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
    reader.read_to_end(&mut plain).ok()?;
    Some(plain)
}

/// An age file for this recipient.
pub(crate) fn seal(recipient: &Recipient, plain: &[u8]) -> Option<Vec<u8>> {
    age::encrypt(recipient, plain).ok()
}

/// What an age file holds, if this passphrase opens it.
pub(crate) fn open_with(passphrase: &str, sealed: &[u8]) -> Option<Plain> {
    let mut opener = scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    opener.set_max_work_factor(WORK_FACTOR);
    open(&opener, sealed)
}

/// An age file under a passphrase.
pub(crate) fn seal_with(passphrase: &str, plain: &[u8]) -> Option<Vec<u8>> {
    let mut sealer = scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    sealer.set_work_factor(WORK_FACTOR);
    age::encrypt(&sealer, plain).ok()
}

/// An identity from its text.
pub(crate) fn identity(text: &[u8]) -> Option<Identity> {
    std::str::from_utf8(text).ok()?.trim_end().parse().ok()
}
