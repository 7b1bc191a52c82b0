//! What a secret's file holds: the binding, and its newest value with the one before. It stands under the vault's own
//! recipient, so that who can write the disk can make none, and says its name, so that none is another's.

use crate::seal::{self, Plain};
use age::x25519::{Identity, Recipient};
use contract::base64;
use contract::bytes::Bytes;
use contract::lend::Lent;
use contract::secret::{Binding, Kind, Sealed, Value};
use contract::{cbor, secret};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// Versions that are kept: the newest, and the one before.
const KEPT: usize = 2;

/// Longest text that an operator seals: a value, a name and a binding of long patterns.
pub(crate) const SEALED_BYTES_MAX: usize = 64 << 10;

/// One secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    name: String,
    binding: Binding,
    /// The newest first; never empty.
    versions: Vec<Version>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    number: u64,
    added_s: u64,
    value: Value,
}

/// What is known of a secret without its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    /// The kind of its newest value.
    pub(crate) kind: Kind,
    /// For what it may be lent.
    pub(crate) binding: Binding,
    /// Its versions, the newest first.
    pub(crate) versions: Vec<Stamp>,
}

/// When a version came, in seconds since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stamp {
    /// 1, 2 and on.
    pub(crate) number: u64,
    /// When.
    pub(crate) added_s: u64,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.versions.drain(..).for_each(|version| forget(version.value));
    }
}

fn forget(value: Value) {
    match value {
        Value::Token(mut value) | Value::Webhook(mut value) => value.zeroize(),
        Value::Basic { mut user, mut password } => {
            user.zeroize();
            password.zeroize();
        }
    }
}

/// Reads what an operator sealed; says what is wrong without anything that is in it.
pub(crate) fn read_sealed(plain: &[u8]) -> Result<Sealed, String> {
    if plain.len() > SEALED_BYTES_MAX {
        return Err("a sealed secret has at most 64 KiB".to_owned());
    }
    // serde's own words would repeat a part of the text
    let sealed: Sealed = serde_json::from_slice(plain).map_err(|error| {
        format!("what is sealed is no secret: line {} column {}", error.line(), error.column())
    })?;
    sealed.check().map_err(|error| error.to_string())?;
    Ok(sealed)
}

impl Record {
    /// A new secret; nothing without a binding.
    pub(crate) fn new(sealed: Sealed, now_s: u64) -> Option<Self> {
        let Sealed { name, value, binding } = sealed;
        let first = Version { number: 1, added_s: now_s, value };
        Some(Self { name, binding: binding?, versions: vec![first] })
    }

    /// Takes a new value; the oldest goes.
    pub(crate) fn rotate(&mut self, value: Value, now_s: u64) {
        let number = self.versions.first().map_or(1, |newest| newest.number.saturating_add(1));
        self.versions.insert(0, Version { number, added_s: now_s, value });
        for old in self.versions.drain(KEPT.min(self.versions.len())..) {
            forget(old.value);
        }
    }

    /// Opens a secret's file; nothing if it is not this vault's, or not of this name.
    pub(crate) fn open(identity: &Identity, name: &str, sealed: &[u8]) -> Option<Self> {
        let plain = seal::open(identity, sealed)?;
        let record: Self = cbor::decode(&plain).ok()?;
        let sound = record.name == name && record.binding.check().is_ok();
        let kept = (1..=KEPT).contains(&record.versions.len());
        (sound && kept && secret::check_name(name).is_ok()).then_some(record)
    }

    /// Its file.
    pub(crate) fn seal(&self, recipient: &Recipient) -> Option<Vec<u8>> {
        let plain: Plain = Zeroizing::new(cbor::encode(self).ok()?);
        seal::seal(recipient, &plain)
    }

    /// What is known of it without its values.
    pub(crate) fn held(&self) -> Option<Held> {
        let stamp = |version: &Version| Stamp { number: version.number, added_s: version.added_s };
        let kind = self.versions.first()?.value.kind();
        let versions = self.versions.iter().map(stamp).collect();
        Some(Held { kind, binding: self.binding.clone(), versions })
    }

    /// The newest value as it goes on the wire, and its version.
    pub(crate) fn lend(&self) -> Option<(u64, Lent)> {
        let newest = self.versions.first()?;
        let lent = match &newest.value {
            Value::Token(value) => {
                let value = Bytes(value.as_bytes().to_vec());
                Lent { hides: vec![value.clone()], value }
            }
            Value::Basic { user, password } => {
                let pair = Zeroizing::new(format!("{user}:{password}"));
                let value = Bytes(base64::write(pair.as_bytes()).into_bytes());
                let [pair, password] = [pair.as_bytes(), password.as_bytes()].map(<[u8]>::to_vec);
                Lent { hides: vec![Bytes(pair), Bytes(password), value.clone()], value }
            }
            Value::Webhook(key) => {
                Lent { hides: Vec::new(), value: Bytes(secret::webhook_key(key)?) }
            }
        };
        Some((newest.number, lent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn sealed(value: Value) -> Sealed {
        let list = |entry: &str| vec![entry.to_owned()];
        let binding = Binding {
            agents: list("a"),
            capabilities: list("network.http_request"),
            hosts: list("api.example.com"),
            ports: vec![443],
            methods: list("GET"),
            paths: list("/**"),
            uses_per_hour: None,
            expires_s: None,
        };
        Sealed { name: "token".to_owned(), value, binding: Some(binding) }
    }

    fn token(text: &str) -> Value {
        Value::Token(text.to_owned())
    }

    #[test]
    fn two_versions_are_kept_and_the_newest_is_lent() {
        let mut record = Record::new(sealed(token("canary-one")), 1).unwrap();
        for (number, value) in [(2, "canary-two"), (3, "canary-three")] {
            record.rotate(token(value), number);
        }
        let (version, lent) = record.lend().unwrap();
        assert_eq!((version, lent.value.0.as_slice()), (3, b"canary-three".as_slice()));
        assert_eq!(
            record.held().unwrap().versions.iter().map(|v| v.number).collect::<Vec<_>>(),
            [3, 2]
        );
        let plain = cbor::encode(&record).unwrap();
        let holds = |text: &[u8]| plain.windows(text.len()).any(|part| part == text);
        assert!(holds(b"canary-two") && !holds(b"canary-one"));
    }

    #[test]
    fn a_user_and_a_password_are_one_value_that_hides_three() {
        let value = Value::Basic { user: "ann".to_owned(), password: "canary-value".to_owned() };
        let (_, lent) = Record::new(sealed(value), 1).unwrap().lend().unwrap();
        let coded = base64::write(b"ann:canary-value");
        assert_eq!(lent.value.0, coded.as_bytes());
        let hides: Vec<&[u8]> = lent.hides.iter().map(|part| part.0.as_slice()).collect();
        assert_eq!(hides, [b"ann:canary-value", b"canary-value".as_slice(), coded.as_bytes()]);
    }

    #[test]
    fn a_file_is_of_one_vault_and_one_name() {
        let identity = Identity::generate();
        let file = Record::new(sealed(token("canary-value")), 1).unwrap();
        let file = file.seal(&identity.to_public()).unwrap();
        assert!(Record::open(&identity, "token", &file).is_some());
        assert!(Record::open(&identity, "other", &file).is_none());
        assert!(Record::open(&Identity::generate(), "token", &file).is_none());
        let (last, rest) = file.split_last().unwrap();
        assert!(Record::open(&identity, "token", &[rest, &[last ^ 1]].concat()).is_none());
    }

    proptest! {
        #[test]
        fn any_sealed_text_is_a_secret_or_refused_without_its_value(
            cut in 0_usize..400, with in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert!(read_sealed(&bytes).is_err());
            let good = serde_json::to_vec(&sealed(token("canary-value"))).unwrap();
            prop_assert!(read_sealed(&good).is_ok());
            let mut spoiled = good.clone();
            let at = cut % good.len();
            spoiled[at] = with;
            match read_sealed(&spoiled) {
                Ok(read) => prop_assert!(read.check().is_ok()),
                Err(error) => prop_assert!(!error.contains("canary")),
            }
            prop_assert!(read_sealed(&good[..at]).is_err());
        }
    }
}
