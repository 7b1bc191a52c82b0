//! The secrets: each an age file for the vault's own recipient, made by the operator. The identity
//! that opens them is itself an age file under the operator's passphrase, and in memory once unlocked.
//! What is here is sealed, unlocked and listed; nothing lends a value yet.

use age::secrecy::{ExposeSecret, SecretString};
use contract::digits::{hex, unhex};
use linux::file;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// scrypt's cost is two to this power: 32 MiB and a tenth of a second.
const WORK_FACTOR: u8 = 15;
const SECRETS_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 64;
const SECRET_BYTES_MAX: usize = 64 << 10;
/// How long the key of one unlock attempt is good.
const ATTEMPT_MS_MAX: u64 = 120_000;

/// What came of an act: the answer, or a code and what to do.
type Done = Result<Json, (&'static str, String)>;

/// The vault's secrets.
pub(crate) struct Secrets {
    folder: PathBuf,
    identity: Option<age::x25519::Identity>,
    attempt: Option<(age::x25519::Identity, u64)>,
}

impl Secrets {
    /// The secrets in `folder`, locked.
    pub(crate) fn open(folder: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder.join("secrets"))?;
        Ok(Self { folder, identity: None, attempt: None })
    }

    /// Performs one act.
    pub(crate) fn act(&mut self, name: &str, input: &[u8], now_ms: u64) -> Done {
        let input: Json =
            serde_json::from_slice(input).map_err(|error| ("bad_input", error.to_string()))?;
        match name {
            "vault.status" => self.status(),
            "vault.list" => self.list(),
            "vault.attempt" => Ok(self.begin(now_ms)),
            "vault.unlock" => self.unlock(&bytes(&input, "ciphertext")?, now_ms),
            "vault.add" => self.add(text(&input, "name")?, &bytes(&input, "ciphertext")?),
            _ => Err(("unknown_act", format!("the vault does not know `{name}`"))),
        }
    }

    fn status(&self) -> Done {
        let made = self.folder.join("identity.age").exists();
        let recipient = file::read(&self.folder.join("recipient")).map_err(broken)?;
        let recipient = recipient.map(|text| String::from_utf8_lossy(&text).into_owned());
        let state = match (&self.identity, made) {
            (Some(_), _) => "unlocked",
            (None, true) => "locked",
            (None, false) => "empty",
        };
        Ok(json!({ "state": state, "recipient": recipient, "secrets": self.names()?.len() }))
    }

    /// Names and digests of the files, never what is in them.
    fn list(&self) -> Done {
        let mut list = Vec::new();
        for name in self.names()? {
            let content = std::fs::read(self.path(&name)).map_err(broken)?;
            let digest = hex(&Sha256::digest(&content));
            list.push(json!({ "name": name, "bytes": content.len(), "sha256": digest }));
        }
        Ok(json!({ "secrets": list }))
    }

    /// A key for one attempt to unlock, so that the passphrase crosses no door in clear.
    fn begin(&mut self, now_ms: u64) -> Json {
        let identity = age::x25519::Identity::generate();
        let recipient = identity.to_public().to_string();
        self.attempt = Some((identity, now_ms + ATTEMPT_MS_MAX));
        json!({ "recipient": recipient, "first": !self.folder.join("identity.age").exists() })
    }

    fn unlock(&mut self, ciphertext: &[u8], now_ms: u64) -> Done {
        let (attempt, until_ms) = self
            .attempt
            .take()
            .ok_or(("no_attempt", "ask for an attempt's key first".to_owned()))?;
        if now_ms > until_ms {
            return Err(("late", "the attempt's key is too old; ask for another".to_owned()));
        }
        let not_for_us = |_error| ("bad_input", "not encrypted to the attempt's key".to_owned());
        let passphrase = age::decrypt(&attempt, ciphertext).map_err(not_for_us)?;
        let passphrase = String::from_utf8(passphrase)
            .map_err(|_error| ("bad_input", "the passphrase is no UTF-8".to_owned()))?;
        let passphrase = SecretString::from(passphrase);
        let path = self.folder.join("identity.age");
        let identity = match file::read(&path).map_err(broken)? {
            None => self.make(passphrase)?,
            Some(sealed) => {
                let mut opener = age::scrypt::Identity::new(passphrase);
                opener.set_max_work_factor(WORK_FACTOR);
                let wrong = || ("wrong_passphrase", "the passphrase does not open it".to_owned());
                let opened = age::decrypt(&opener, &sealed).map_err(|_error| wrong())?;
                let text = SecretString::from(String::from_utf8(opened).map_err(|_e| wrong())?);
                text.expose_secret().parse().map_err(|_error| wrong())?
            }
        };
        let recipient = identity.to_public().to_string();
        self.identity = Some(identity);
        Ok(json!({ "state": "unlocked", "recipient": recipient }))
    }

    fn make(
        &self,
        passphrase: SecretString,
    ) -> Result<age::x25519::Identity, (&'static str, String)> {
        const PASSPHRASE_BYTES_MIN: usize = 12;
        if passphrase.expose_secret().len() < PASSPHRASE_BYTES_MIN {
            let next = format!("choose a passphrase of at least {PASSPHRASE_BYTES_MIN} bytes");
            return Err(("bad_input", next));
        }
        let identity = age::x25519::Identity::generate();
        let mut sealer = age::scrypt::Recipient::new(passphrase);
        sealer.set_work_factor(WORK_FACTOR);
        let text = identity.to_string();
        let sealed = age::encrypt(&sealer, text.expose_secret().as_bytes())
            .map_err(|_error| ("failed", "the identity cannot be sealed".to_owned()))?;
        // the recipient first: an identity without its recipient could be used by nobody
        let recipient = identity.to_public().to_string();
        file::replace(&self.folder.join("recipient"), recipient.as_bytes()).map_err(broken)?;
        file::replace(&self.folder.join("identity.age"), &sealed).map_err(broken)?;
        Ok(identity)
    }

    fn add(&self, name: &str, ciphertext: &[u8]) -> Done {
        let plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
            let next = "lower-case letters, digits, `-` and `_`, at most 64";
            return Err(("bad_input", format!("`name`: {next}")));
        }
        let identity = self.identity.as_ref();
        let identity =
            identity.ok_or(("locked", "unlock the vault first: krux vault unlock".to_owned()))?;
        if ciphertext.len() > SECRET_BYTES_MAX || self.names()?.len() >= SECRETS_MAX {
            return Err(("too_large", "a secret has at most 64 KiB, a vault 1,024".to_owned()));
        }
        // it must be for this vault, or nobody could ever use it
        let wrong = "not encrypted to this vault's recipient; pair or unlock again";
        drop(age::decrypt(identity, ciphertext).map_err(|_error| ("bad_input", wrong.to_owned()))?);
        file::replace(&self.path(name), ciphertext).map_err(broken)?;
        Ok(json!({ "name": name, "sha256": hex(&Sha256::digest(ciphertext)) }))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("secrets").join(format!("{name}.age"))
    }

    fn names(&self) -> Result<Vec<String>, (&'static str, String)> {
        let entries = std::fs::read_dir(self.folder.join("secrets")).map_err(broken)?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter_map(|name| name.strip_suffix(".age").map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

fn text<'a>(input: &'a Json, name: &str) -> Result<&'a str, (&'static str, String)> {
    let text = input.get(name).and_then(Json::as_str);
    text.ok_or_else(|| ("bad_input", format!("`{name}` is missing or no text")))
}

fn bytes(input: &Json, name: &str) -> Result<Vec<u8>, (&'static str, String)> {
    let digits = text(input, name)?;
    let bad = || ("bad_input", format!("`{name}`: an even number of hexadecimal digits"));
    unhex(digits).ok_or_else(bad)
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` calls")]
fn broken(error: std::io::Error) -> (&'static str, String) {
    ("failed", format!("the vault's files: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(secrets: &mut Secrets, passphrase: &str) -> Done {
        let key = secrets.act("vault.attempt", b"{}", 0).unwrap();
        let key: age::x25519::Recipient = key["recipient"].as_str().unwrap().parse().unwrap();
        let sealed = age::encrypt(&key, passphrase.as_bytes()).unwrap();
        let input = json!({ "ciphertext": hex(&sealed) }).to_string();
        secrets.act("vault.unlock", input.as_bytes(), 1)
    }

    #[test]
    fn a_secret_is_sealed_to_the_vault_and_only_the_passphrase_unlocks_it() {
        let folder = std::env::temp_dir().join(format!("vault-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut secrets = Secrets::open(folder.clone()).unwrap();
        assert_eq!(attempt(&mut secrets, "short").unwrap_err().0, "bad_input");
        let made = attempt(&mut secrets, "correct horse battery").unwrap();
        let recipient: age::x25519::Recipient =
            made["recipient"].as_str().unwrap().parse().unwrap();
        let sealed = hex(&age::encrypt(&recipient, b"canary-value").unwrap());
        let input = json!({ "name": "token", "ciphertext": sealed }).to_string();
        secrets.act("vault.add", input.as_bytes(), 2).unwrap();
        let list = secrets.act("vault.list", b"{}", 3).unwrap().to_string();
        assert!(list.contains("token") && !list.contains("canary"));

        let mut again = Secrets::open(folder.clone()).unwrap();
        assert_eq!(again.act("vault.add", input.as_bytes(), 4).unwrap_err().0, "locked");
        assert_eq!(attempt(&mut again, "correct horse bakery").unwrap_err().0, "wrong_passphrase");
        let status = attempt(&mut again, "correct horse battery").unwrap();
        assert_eq!(status["recipient"], made["recipient"]);
        let other = age::x25519::Identity::generate().to_public();
        let sealed = hex(&age::encrypt(&other, b"x").unwrap());
        let input = json!({ "name": "other", "ciphertext": sealed }).to_string();
        assert_eq!(again.act("vault.add", input.as_bytes(), 5).unwrap_err().0, "bad_input");
        let long = json!({ "name": "long", "ciphertext": "00".repeat(SECRET_BYTES_MAX + 1) });
        let long = again.act("vault.add", long.to_string().as_bytes(), 6);
        assert_eq!(long.unwrap_err().0, "too_large");
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(again.act("vault.list", b"{}", 7).unwrap_err().0, "failed");
    }

    #[test]
    fn an_attempt_is_asked_for_first_and_grows_old() {
        let folder = std::env::temp_dir().join(format!("vault-late-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut secrets = Secrets::open(folder.clone()).unwrap();
        let unlock = br#"{"ciphertext":"00"}"#;
        assert_eq!(secrets.act("vault.unlock", unlock, 0).unwrap_err().0, "no_attempt");
        secrets.act("vault.attempt", b"{}", 0).unwrap();
        assert_eq!(secrets.act("vault.unlock", unlock, ATTEMPT_MS_MAX + 1).unwrap_err().0, "late");
        assert_eq!(secrets.act("vault.nosuch", b"{}", 0).unwrap_err().0, "unknown_act");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
