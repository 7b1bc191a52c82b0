//! Secrets and the vault. Values are encrypted here to the vault's recipient; no door sees one.

use crate::ended::{Ended, failed};
use crate::remote::Desk;
use crate::render;
use anyhow::{Context, Result};
use clap::Subcommand;
use contract::digits::hex;
use serde_json::{Value as Json, json};
use std::io::Read;

const SECRET_BYTES_MAX: u64 = 32 << 10;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A secret, its value from standard input.
    Add {
        /// Lower-case letters, digits, `-` and `_`.
        name: String,
    },
    /// Names and digests.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// Whether it is empty, locked or unlocked, and its recipient.
    Status,
    /// Unlocks it with the passphrase from standard input; the first one makes it.
    Unlock,
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let answer = match command {
        Command::List => desk.perform("vault.list", "{}")?,
        Command::Add { name } => {
            let status = desk.perform("vault.status", "{}")?;
            let recipient = status.get("recipient").and_then(Json::as_str);
            let empty = "the vault is empty; make it first: krux vault unlock";
            let recipient = recipient.ok_or_else(|| failed(Ended::Conflict, empty))?;
            let value = input()?;
            let sealed = encrypt(recipient, value.trim_end_matches('\n').as_bytes())?;
            let input = json!({ "name": name, "ciphertext": hex(&sealed) }).to_string();
            desk.perform_with("vault.add", &input)?
        }
    };
    if as_json {
        render::object(&answer);
        return Ok(Ended::Done);
    }
    for secret in answer.get("secrets").and_then(Json::as_array).into_iter().flatten() {
        let text = |name: &str| secret.get(name).map(render::text).unwrap_or_default();
        render::line(&format!("{:32} {}", text("name"), text("sha256")));
    }
    if let Command::Add { name } = command {
        render::line(&format!("the vault has {name}"));
    }
    Ok(Ended::Done)
}

pub(crate) fn vault(desk: &Desk, command: &Vault, as_json: bool) -> Result<Ended> {
    let answer = match command {
        Vault::Status => desk.perform("vault.status", "{}")?,
        Vault::Unlock => {
            let attempt = desk.perform("vault.attempt", "{}")?;
            let key = attempt.get("recipient").and_then(Json::as_str);
            let key = key.context("the vault gave no key for the attempt")?;
            let passphrase = input()?;
            let sealed = encrypt(key, passphrase.trim_end_matches('\n').as_bytes())?;
            let input = json!({ "ciphertext": hex(&sealed) }).to_string();
            desk.perform_with("vault.unlock", &input)?
        }
    };
    if as_json {
        render::object(&answer);
    } else {
        let text = |name: &str| answer.get(name).map(render::text).unwrap_or_default();
        render::line(&format!("{} {}", text("state"), text("recipient")));
    }
    Ok(Ended::Done)
}

/// Standard input, never an argument: other users of this machine see arguments.
fn input() -> Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(read)? > SECRET_BYTES_MAX || text.trim_end_matches('\n').is_empty() {
        return Err(failed(Ended::Usage, "standard input: 1 byte to 32 KiB of text"));
    }
    Ok(text)
}

fn encrypt(recipient: &str, value: &[u8]) -> Result<Vec<u8>> {
    let recipient: age::x25519::Recipient = match recipient.parse() {
        Ok(recipient) => recipient,
        Err(_error) => anyhow::bail!("the box gave no age recipient"),
    };
    match age::encrypt(&recipient, value) {
        Ok(sealed) => Ok(sealed),
        Err(_error) => anyhow::bail!("the value cannot be encrypted"),
    }
}
