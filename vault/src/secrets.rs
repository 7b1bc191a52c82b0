//! The secrets, and what operators do with them. What is locked shows names and bindings from plain copies and lends
//! nothing; once it is unlocked the bindings are those inside the sealed files. No value stays in memory.

use crate::keys::{Keys, RECIPIENT};
use crate::record::{Held, Record, SEALED_BYTES_MAX, read_sealed};
use crate::seal;
use crate::store::{Generation, Store};
use contract::digits::unhex;
use contract::lend::Lent;
use contract::secret::{Sealed, check_name};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

const SECRETS_MAX: usize = 1_024;

/// A code, and what to do.
pub(crate) type Refused = (&'static str, String);
/// What came of an act.
pub(crate) type Done = Result<Json, Refused>;

/// When an act comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since boot, in milliseconds.
    pub(crate) boot_ms: u64,
    /// Since 1970, in seconds.
    pub(crate) wall_s: u64,
}

/// The vault's secrets.
pub(crate) struct Secrets {
    pub(crate) store: Store,
    pub(crate) opened: Option<Opened>,
    pub(crate) attempt: Option<(age::x25519::Identity, u64)>,
}

/// What is in memory while the vault is unlocked.
pub(crate) struct Opened {
    pub(crate) keys: Keys,
    held: BTreeMap<String, Held>,
}

impl Opened {
    pub(crate) const fn new(keys: Keys, held: BTreeMap<String, Held>) -> Self {
        Self { keys, held }
    }

    /// A secret without its values.
    pub(crate) fn held(&self, name: &str) -> Option<&Held> {
        self.held.get(name)
    }
}

impl Secrets {
    /// The secrets in `folder`, locked.
    pub(crate) fn open(folder: PathBuf) -> std::io::Result<Self> {
        Ok(Self { store: Store::open(folder)?, opened: None, attempt: None })
    }

    /// Performs one act.
    pub(crate) fn act(&mut self, name: &str, input: &[u8], now: Now) -> Done {
        let input: Json =
            serde_json::from_slice(input).map_err(|error| ("bad_input", error.to_string()))?;
        match name {
            "vault.status" => self.status(),
            "vault.list" => self.list(),
            "vault.attempt" => Ok(self.begin(now.boot_ms)),
            "vault.unlock" => self.unlock(&input, now),
            "vault.lock" => Ok(self.lock()),
            "vault.rekey" => self.rekey(&input, now),
            "vault.passphrase" => self.change_passphrase(&input, now),
            "vault.recover" => self.recover(&input, now),
            "vault.add" => self.add(&input, now),
            "vault.rotate" => self.rotate(&input, now),
            "vault.revoke" => self.revoke(text(&input, "name")?),
            _ => Err(("unknown_act", format!("the vault does not know `{name}`"))),
        }
    }

    /// The newest value of a secret whose file still says what is known of it, and its version.
    pub(crate) fn value(&self, name: &str) -> Option<(u64, Lent)> {
        let opened = self.opened.as_ref()?;
        let record = self.read(&opened.keys, name).ok()?;
        (record.held().as_ref() == opened.held(name)).then(|| record.lend()).flatten()
    }

    pub(crate) const fn state(&self) -> &'static str {
        match (&self.opened, self.store.is_made()) {
            (Some(_), _) => "unlocked",
            (None, true) => "locked",
            (None, false) => "empty",
        }
    }

    fn status(&self) -> Done {
        let recipient = self.store.read(self.store.generation(), RECIPIENT).map_err(broken)?;
        let recipient = recipient.map(|text| String::from_utf8_lossy(&text).into_owned());
        let count = self.store.names().map_err(broken)?.len();
        Ok(json!({ "state": self.state(), "recipient": recipient, "secrets": count }))
    }

    /// Names and bindings, never what is bound.
    fn list(&self) -> Done {
        let mut list = Vec::new();
        for name in self.store.names().map_err(broken)? {
            // while it is unlocked, what is inside the file; else a copy that nobody vouches for
            let held = match &self.opened {
                Some(opened) => opened.held(&name).map(|held| json!(held)),
                None => self.copy(&name).map_err(broken)?,
            };
            let Json::Object(mut row) = held.unwrap_or_else(|| json!({ "unreadable": true }))
            else {
                continue;
            };
            row.insert("name".to_owned(), json!(name));
            list.push(Json::Object(row));
        }
        Ok(json!({ "secrets": list, "state": self.state() }))
    }

    fn copy(&self, name: &str) -> std::io::Result<Option<Json>> {
        let copy = self.store.read(self.store.generation(), &copy_of(name))?;
        let copy = copy.and_then(|text| serde_json::from_slice::<Held>(&text).ok());
        Ok(copy.map(|held| json!(held)))
    }

    /// Opens every secret once: what is known of those that open, and the names of the others.
    pub(crate) fn look(
        &self,
        keys: &Keys,
    ) -> Result<(BTreeMap<String, Held>, Vec<String>), Refused> {
        let (mut known, mut unreadable) = (BTreeMap::new(), Vec::new());
        for name in self.store.names().map_err(broken)? {
            match self.read(keys, &name).ok().and_then(|record| record.held()) {
                Some(held) => {
                    if self.copy(&name).map_err(broken)? != Some(json!(held)) {
                        self.store
                            .write(
                                self.store.generation(),
                                &copy_of(&name),
                                json!(held).to_string().as_bytes(),
                            )
                            .map_err(broken)?;
                    }
                    known.insert(name, held);
                }
                None => unreadable.push(name),
            }
        }
        Ok((known, unreadable))
    }

    /// Reads and opens a secret's file.
    pub(crate) fn read(&self, keys: &Keys, name: &str) -> Result<Record, Refused> {
        let file = self.store.read(self.store.generation(), &file_of(name)).map_err(broken)?;
        let file = file.ok_or_else(|| not_found(name))?;
        let damaged = || ("failed", format!("the file of `{name}` is damaged; revoke and add it"));
        Record::open(&keys.identity, name, &file).ok_or_else(damaged)
    }

    fn add(&mut self, input: &Json, now: Now) -> Done {
        let sealed = self.sealed(input)?;
        let name = sealed.name.clone();
        if self.store.names().map_err(broken)?.contains(&name) {
            let next = "krux secret rotate for another value, or revoke it first";
            return Err(("exists", format!("there is a secret `{name}`: {next}")));
        }
        if self.store.names().map_err(broken)?.len() >= SECRETS_MAX {
            return Err(("too_large", "a vault has at most 1,024 secrets".to_owned()));
        }
        let inside = (json!(sealed.value.kind()), json!(sealed.binding));
        if (input.get("kind"), input.get("binding")) != (Some(&inside.0), Some(&inside.1)) {
            let message = "`kind` and `binding` are not those that are sealed with the value";
            return Err(("bad_input", message.to_owned()));
        }
        if sealed.binding.as_ref().and_then(|b| b.expires_s).is_some_and(|end| end <= now.wall_s) {
            return Err(("bad_input", "`expires_s`: a time that is not over".to_owned()));
        }
        let none = || ("bad_input", "`binding` is missing; krux secret add --help".to_owned());
        let record = Record::new(sealed, now.wall_s).ok_or_else(none)?;
        self.keep(&name, &record)
    }

    fn rotate(&mut self, input: &Json, now: Now) -> Done {
        let Sealed { name, value, binding } = self.sealed(input)?;
        let mut record = self.read(&self.unlocked()?.keys, &name)?;
        let known = record.held();
        if known.as_ref().is_none_or(|held| held.kind != value.kind()) {
            return Err(("bad_input", "`value` is of another kind than the secret".to_owned()));
        }
        if binding.is_some() && binding != known.map(|held| held.binding) {
            let next = "a rotation keeps the binding; to change it, revoke and add";
            return Err(("bad_input", format!("`binding`: {next}")));
        }
        record.rotate(value, now.wall_s);
        self.keep(&name, &record)
    }

    fn revoke(&mut self, name: &str) -> Done {
        check_name(name).map_err(|error| ("bad_input", error.to_string()))?;
        if !self.store.names().map_err(broken)?.iter().any(|known| known == name) {
            return Err(not_found(name));
        }
        // it is lent no more, whatever becomes of its file
        if let Some(opened) = &mut self.opened {
            opened.held.remove(name);
        }
        self.store.remove(name).map_err(broken)?;
        Ok(json!({ "name": name, "revoked": true }))
    }

    /// What an operator sealed, if it is for this vault and for the name that is said beside it.
    fn sealed(&self, input: &Json) -> Result<Sealed, Refused> {
        let (name, ciphertext) = (text(input, "name")?, bytes(input, "ciphertext")?);
        check_name(name).map_err(|error| ("bad_input", error.to_string()))?;
        let keys = &self.unlocked()?.keys;
        if ciphertext.len() > SEALED_BYTES_MAX {
            return Err(("too_large", "a sealed secret has at most 64 KiB".to_owned()));
        }
        let wrong = || {
            let message = "not encrypted to this vault's recipient; it is in krux vault status";
            ("bad_input", message.to_owned())
        };
        let plain = seal::open(&keys.identity, &ciphertext).ok_or_else(wrong)?;
        let sealed = read_sealed(&plain).map_err(|error| ("bad_input", error))?;
        if sealed.name != name {
            return Err(("bad_input", "`name` is not the one that is sealed".to_owned()));
        }
        Ok(sealed)
    }

    /// Writes a secret's file, then its copy.
    fn keep(&mut self, name: &str, record: &Record) -> Done {
        let keys = &self.unlocked()?.keys;
        let failed = || ("failed", "the secret cannot be sealed".to_owned());
        let file = record.seal(&keys.recipient()).ok_or_else(failed)?;
        let held = record.held().ok_or_else(failed)?;
        let of = self.store.generation();
        let written = self.store.write(of, &file_of(name), &file);
        if let Err(error) = written {
            // the old file or the new one: nothing of it is lent before it is looked at again
            if let Some(opened) = &mut self.opened {
                opened.held.remove(name);
            }
            return Err(broken(error));
        }
        let version = held.versions.first().map(|newest| newest.number);
        let copy = json!(held).to_string();
        if let Some(opened) = &mut self.opened {
            opened.held.insert(name.to_owned(), held);
        }
        self.store.write(of, &copy_of(name), copy.as_bytes()).map_err(broken)?;
        Ok(json!({ "name": name, "version": version }))
    }

    /// Writes a secret into a generation that does not count yet.
    pub(crate) fn put(
        &self,
        of: Generation,
        name: &str,
        record: &Record,
        keys: &Keys,
    ) -> Result<Held, Refused> {
        let failed = || ("failed", "the secret cannot be sealed".to_owned());
        let file = record.seal(&keys.recipient()).ok_or_else(failed)?;
        let held = record.held().ok_or_else(failed)?;
        self.store.put(of, &file_of(name), &file).map_err(broken)?;
        self.store.put(of, &copy_of(name), json!(held).to_string().as_bytes()).map_err(broken)?;
        Ok(held)
    }

    fn unlocked(&self) -> Result<&Opened, Refused> {
        let next = "unlock the vault first: krux vault unlock";
        self.opened.as_ref().ok_or_else(|| ("locked", next.to_owned()))
    }
}

fn file_of(name: &str) -> String {
    format!("secrets/{name}.age")
}

fn copy_of(name: &str) -> String {
    format!("secrets/{name}.json")
}

fn not_found(name: &str) -> Refused {
    ("not_found", format!("no secret `{name}`; krux secret list"))
}

fn text<'a>(input: &'a Json, name: &str) -> Result<&'a str, Refused> {
    let text = input.get(name).and_then(Json::as_str);
    text.ok_or_else(|| ("bad_input", format!("`{name}` is missing or no text")))
}

pub(crate) fn bytes(input: &Json, name: &str) -> Result<Vec<u8>, Refused> {
    let digits = text(input, name)?;
    let bad = || ("bad_input", format!("`{name}`: an even number of hexadecimal digits"));
    unhex(digits).ok_or_else(bad)
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` calls")]
pub(crate) fn broken(error: std::io::Error) -> Refused {
    ("failed", format!("the vault's files: {error}"))
}

#[cfg(test)]
pub(crate) mod tests;
