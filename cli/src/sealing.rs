//! What is sealed on this machine: to recipients that the box's authority stands for, so that no door, and no pdp that
//! was taken over, can offer one of its own.

use crate::ended::{Ended, failed};
use crate::pair::holds_under;
use crate::remote::Desk;
use anyhow::{Context, Result};
use contract::digits::unhex;
use contract::secret::{FOR_ATTEMPT, FOR_SECRETS, vouched};
use serde_json::Value as Json;
use std::io::{BufRead, Read};

/// Longest value, or line that opens a vault, in bytes.
const INPUT_BYTES_MAX: u64 = 32 << 10;

/// Which recipient of the vault's.
#[derive(Debug, Clone, Copy)]
pub(crate) enum For {
    /// The secrets'.
    Secrets,
    /// One attempt's.
    Attempt,
}

/// The recipient that an answer names, if this box's authority signed it for this purpose.
pub(crate) fn recipient(desk: &Desk, of: For, answer: &Json) -> Result<String> {
    let authority = unhex(&desk.known.authority).context("the box's file is damaged")?;
    signed_recipient(&authority, of, answer)
}

fn signed_recipient(authority: &[u8], of: For, answer: &Json) -> Result<String> {
    let text = |name: &str| answer.get(name).and_then(Json::as_str);
    let recipient = text("recipient").context("the box gave no age recipient")?;
    let purpose = match of {
        For::Secrets => FOR_SECRETS,
        For::Attempt => FOR_ATTEMPT,
    };
    let signature = text("vouched").and_then(unhex).unwrap_or_default();
    if !holds_under(authority, &vouched(purpose, recipient), &signature)? {
        let message = "the recipient that the box names is not its vault's: nothing was sent";
        return Err(failed(Ended::NotVerified, message));
    }
    Ok(recipient.to_owned())
}

/// An age file for a recipient.
pub(crate) fn seal(recipient: &str, plain: &[u8]) -> Result<Vec<u8>> {
    let recipient: age::x25519::Recipient = match recipient.parse() {
        Ok(recipient) => recipient,
        Err(_error) => anyhow::bail!("the box gave no age recipient"),
    };
    match age::encrypt(&recipient, plain) {
        Ok(sealed) => Ok(sealed),
        Err(_error) => anyhow::bail!("the value cannot be encrypted"),
    }
}

/// All of standard input, without its last line's end; never an argument, which other users of this machine see.
pub(crate) fn input() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)?;
    checked(read, &text)
}

/// One line of it.
pub(crate) fn line() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_line(&mut text)?;
    checked(read, &text)
}

fn checked(read: usize, text: &str) -> Result<String> {
    let text = text.trim_end_matches(['\n', '\r']);
    if u64::try_from(read)? > INPUT_BYTES_MAX || text.is_empty() {
        return Err(failed(Ended::Usage, "standard input: 1 byte to 32 KiB of text"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::digits::hex;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};
    use serde_json::json;

    #[test]
    fn a_recipient_that_the_authority_did_not_sign_gets_nothing() {
        let make = || {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let certificate = CertificateParams::default().self_signed(&key).unwrap();
            (key, certificate.der().to_vec())
        };
        let ((key, authority), (_, other)) = (make(), make());
        let signature = key.sign(&vouched(FOR_SECRETS, "age1a")).unwrap();
        let answer = json!({ "recipient": "age1a", "vouched": hex(&signature) });
        assert_eq!(signed_recipient(&authority, For::Secrets, &answer).unwrap(), "age1a");
        assert!(signed_recipient(&authority, For::Attempt, &answer).is_err());
        assert!(signed_recipient(&other, For::Secrets, &answer).is_err());
        for (name, value) in [("recipient", "age1b"), ("vouched", ""), ("vouched", "00")] {
            let mut spoiled = answer.clone();
            spoiled[name] = json!(value);
            assert!(
                signed_recipient(&authority, For::Secrets, &spoiled).is_err(),
                "{name} {value}"
            );
        }
    }
}
