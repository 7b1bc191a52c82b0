//! The vault's keys. The identity opens every secret. It stands in two files: under the operator's passphrase, and for
//! the recovery key, which in turn stands under the recovery code. Beside the identity each file says for which
//! recovery key the next one is made, since what stands in clear on a disk can be exchanged.

use crate::seal::{self, Plain};
use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use contract::pairing::{read_code, write_code};
use zeroize::Zeroizing;

/// Under the passphrase.
pub(crate) const IDENTITY: &str = "identity.age";
/// For the recovery key.
pub(crate) const RECOVERY: &str = "recovery.age";
/// The recovery key, under the code.
pub(crate) const RECOVERY_KEY: &str = "recovery-key.age";
/// The identity's recipient, in clear.
pub(crate) const RECIPIENT: &str = "recipient";
/// Bytes of a recovery code: 160 bits, eight groups of four.
const CODE_BYTES: usize = 20;

/// Both.
pub(crate) struct Keys {
    /// Opens the secrets.
    pub(crate) identity: Identity,
    recovery: Recipient,
}

/// The way back without the passphrase.
pub(crate) struct Recovery {
    /// What a person writes down.
    pub(crate) code: Zeroizing<String>,
    /// [`RECOVERY_KEY`].
    pub(crate) file: Vec<u8>,
}

impl Keys {
    /// New keys, and the way back.
    pub(crate) fn make() -> Option<(Self, Recovery)> {
        let mut bytes = Zeroizing::new([0; CODE_BYTES]);
        rustix::rand::getrandom(bytes.as_mut_slice(), rustix::rand::GetRandomFlags::empty())
            .ok()?;
        let code = Zeroizing::new(write_code(bytes.as_slice()));
        let recovery = Identity::generate();
        let text = recovery.to_string();
        let file = seal::seal_with(&code, text.expose_secret().as_bytes())?;
        let keys = Self { identity: Identity::generate(), recovery: recovery.to_public() };
        Some((keys, Recovery { code, file }))
    }

    /// Another identity with the same way back.
    pub(crate) fn renew(&self) -> Self {
        Self { identity: Identity::generate(), recovery: self.recovery.clone() }
    }

    /// Opens [`IDENTITY`] with the passphrase.
    pub(crate) fn open(passphrase: &str, file: &[u8]) -> Option<Self> {
        Self::read(&seal::open_with(passphrase, file)?)
    }

    /// Opens [`RECOVERY`] with the code.
    pub(crate) fn recover(code: &str, key: &[u8], file: &[u8]) -> Option<Self> {
        let bytes = Zeroizing::new(read_code(code)?);
        let code = Zeroizing::new(write_code(&bytes));
        let key = seal::identity(&seal::open_with(&code, key)?)?;
        Self::read(&seal::open(&key, file)?)
    }

    /// [`IDENTITY`].
    pub(crate) fn seal(&self, passphrase: &str) -> Option<Vec<u8>> {
        seal::seal_with(passphrase, &self.text())
    }

    /// [`RECOVERY`].
    pub(crate) fn seal_for_recovery(&self) -> Option<Vec<u8>> {
        seal::seal(&self.recovery, &self.text())
    }

    /// [`RECIPIENT`].
    pub(crate) fn recipient(&self) -> Recipient {
        self.identity.to_public()
    }

    /// Both, as a file has them inside.
    pub(crate) fn text(&self) -> Plain {
        let identity = self.identity.to_string();
        let recovery = self.recovery.to_string();
        let parts = [identity.expose_secret().as_bytes(), b"\n", recovery.as_bytes()];
        Zeroizing::new(parts.concat())
    }

    /// Reads them.
    pub(crate) fn read(plain: &[u8]) -> Option<Self> {
        let (identity, recovery) = std::str::from_utf8(plain).ok()?.split_once('\n')?;
        Some(Self { identity: identity.parse().ok()?, recovery: recovery.parse().ok()? })
    }
}
