//! How the vault is made, opened, closed and given other keys. What opens it comes under the key of one attempt, so
//! that no passphrase crosses a door in clear.

use crate::keys::{IDENTITY, Keys, RECIPIENT, RECOVERY, RECOVERY_KEY};
use crate::seal;
use crate::secrets::{Done, Now, Opened, Refused, Secrets, broken, bytes};
use crate::store::Generation;
use age::x25519::{Identity, Recipient};
use contract::digits::hex;
use contract::secret::{Opening, PASSPHRASE_BYTES_MIN};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// How long the key of one attempt is good.
pub(crate) const ATTEMPT_MS_MAX: u64 = 120_000;
/// Longest ciphertext of an attempt.
const CIPHERTEXT_BYTES_MAX: usize = 16 << 10;

/// What an attempt brought; each part is taken once.
struct Words(Opening);

impl Words {
    fn take(part: &mut Option<String>, name: &str) -> Result<Zeroizing<String>, Refused> {
        let missing = || ("bad_input", format!("`{name}` is missing in what was sealed"));
        part.take().map(Zeroizing::new).ok_or_else(missing)
    }

    fn passphrase(&mut self) -> Result<Zeroizing<String>, Refused> {
        Self::take(&mut self.0.passphrase, "passphrase")
    }

    fn recovery(&mut self) -> Result<Zeroizing<String>, Refused> {
        Self::take(&mut self.0.recovery, "recovery")
    }

    fn new_passphrase(&mut self) -> Result<Zeroizing<String>, Refused> {
        Self::take(&mut self.0.new_passphrase, "new_passphrase").and_then(long_enough)
    }

    fn recipient(&mut self) -> Result<Recipient, Refused> {
        let text = Self::take(&mut self.0.recipient, "recipient")?;
        text.parse().map_err(|_error| ("bad_input", "`recipient`: an age recipient".to_owned()))
    }
}

fn long_enough(passphrase: Zeroizing<String>) -> Result<Zeroizing<String>, Refused> {
    if passphrase.len() >= PASSPHRASE_BYTES_MIN {
        return Ok(passphrase);
    }
    let next = format!("choose a passphrase of at least {PASSPHRASE_BYTES_MIN} bytes");
    Err(("bad_input", next))
}

fn unsealable() -> Refused {
    ("failed", "the identity cannot be sealed".to_owned())
}

impl Secrets {
    /// A key for one attempt.
    pub(crate) fn begin(&mut self, now_ms: u64) -> Json {
        let identity = Identity::generate();
        let recipient = identity.to_public().to_string();
        self.attempt = Some((identity, now_ms.saturating_add(ATTEMPT_MS_MAX)));
        json!({ "recipient": recipient, "first": !self.store.is_made() })
    }

    /// Forgets the identity.
    pub(crate) fn lock(&mut self) -> Json {
        self.opened = None;
        json!({ "state": self.state() })
    }

    /// Opens it with the passphrase; the first one makes it.
    pub(crate) fn unlock(&mut self, input: &Json, now: Now) -> Done {
        let mut words = self.words(input, now.boot_ms)?;
        let passphrase = words.passphrase()?;
        if !self.store.is_made() {
            return self.make(long_enough(passphrase)?.as_str(), &words.recipient()?);
        }
        let keys = self.keys(&passphrase)?;
        self.hold(keys)
    }

    /// Opens it with the keys that an earlier vault of this boot had, if they are still those that count. Whether it did.
    pub(crate) fn open_again(&mut self, keys: &[u8]) -> bool {
        let Some(keys) = Keys::read(keys) else { return false };
        let known = self.file(RECIPIENT).ok();
        known.is_some_and(|known| known == keys.recipient().to_string().as_bytes())
            && self.hold(keys).is_ok()
    }

    /// Another passphrase for the same identity.
    pub(crate) fn change_passphrase(&mut self, input: &Json, now: Now) -> Done {
        let mut words = self.words(input, now.boot_ms)?;
        let (old, new) = (words.passphrase()?, words.new_passphrase()?);
        let keys = self.keys(&old)?;
        self.reseal(keys, &new)
    }

    /// Another passphrase, for who has the recovery code.
    pub(crate) fn recover(&mut self, input: &Json, now: Now) -> Done {
        let mut words = self.words(input, now.boot_ms)?;
        let (code, new) = (words.recovery()?, words.new_passphrase()?);
        let [key, file] = [RECOVERY_KEY, RECOVERY].map(|name| self.file(name));
        let wrong = || ("wrong_recovery", "the recovery code does not open it".to_owned());
        let keys = Keys::recover(&code, &key?, &file?).ok_or_else(wrong)?;
        self.reseal(keys, &new)
    }

    /// Another identity: every secret is sealed anew, then all of it counts at once.
    pub(crate) fn rekey(&mut self, input: &Json, now: Now) -> Done {
        let passphrase = self.words(input, now.boot_ms)?.passphrase()?;
        let old = self.keys(&passphrase)?;
        let new = old.renew();
        let generation = self.store.begin().map_err(broken)?;
        let mut held = BTreeMap::new();
        for name in self.store.names().map_err(broken)? {
            let record = self.read(&old, &name)?;
            held.insert(name.clone(), self.put(generation, &name, &record, &new)?);
        }
        let key = self.file(RECOVERY_KEY)?;
        self.count(generation, &new, &passphrase, &key)?;
        let answer = json!({ "state": "unlocked", "recipient": new.recipient().to_string(), "secrets": held.len() });
        self.opened = Some(Opened::new(new, held));
        Ok(answer)
    }

    fn make(&mut self, passphrase: &str, recipient: &Recipient) -> Done {
        let (keys, recovery) = Keys::make().ok_or_else(unsealable)?;
        let code = seal::seal(recipient, recovery.code.as_bytes()).ok_or_else(unsealable)?;
        let generation = self.store.begin().map_err(broken)?;
        self.count(generation, &keys, passphrase, &recovery.file)?;
        let mut answer = self.hold(keys)?;
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("recovery".to_owned(), json!(hex(&code)));
        }
        Ok(answer)
    }

    /// Writes the keys of a generation, and lets it count.
    fn count(
        &mut self,
        of: Generation,
        keys: &Keys,
        passphrase: &str,
        key: &[u8],
    ) -> Result<(), Refused> {
        let recipient = keys.recipient().to_string();
        let identity = keys.seal(passphrase).ok_or_else(unsealable)?;
        let recovery = keys.seal_for_recovery().ok_or_else(unsealable)?;
        let files: [(&str, &[u8]); 4] = [
            (RECIPIENT, recipient.as_bytes()),
            (RECOVERY_KEY, key),
            (RECOVERY, &recovery),
            (IDENTITY, &identity),
        ];
        for (name, content) in files {
            self.store.put(of, name, content).map_err(broken)?;
        }
        if let Err(error) = self.store.commit(of) {
            // either may count now: nothing is lent until somebody has unlocked what does
            self.opened = None;
            self.store.reload().ok();
            return Err(broken(error));
        }
        Ok(())
    }

    fn reseal(&mut self, keys: Keys, passphrase: &str) -> Done {
        let file = keys.seal(passphrase).ok_or_else(unsealable)?;
        self.store.write(self.store.generation(), IDENTITY, &file).map_err(broken)?;
        self.hold(keys)
    }

    /// Unlocked with these keys.
    fn hold(&mut self, keys: Keys) -> Done {
        let (held, unreadable) = self.look(&keys)?;
        let recipient = keys.recipient().to_string();
        self.opened = Some(Opened::new(keys, held));
        Ok(json!({ "state": "unlocked", "recipient": recipient, "unreadable": unreadable }))
    }

    fn keys(&self, passphrase: &str) -> Result<Keys, Refused> {
        let wrong = || ("wrong_passphrase", "the passphrase does not open it".to_owned());
        Keys::open(passphrase, &self.file(IDENTITY)?).ok_or_else(wrong)
    }

    fn file(&self, name: &str) -> Result<Vec<u8>, Refused> {
        if !self.store.is_made() {
            return Err(("locked", "the vault is empty; make it: krux vault unlock".to_owned()));
        }
        let file = self.store.read(self.store.generation(), name).map_err(broken)?;
        file.ok_or_else(|| ("failed", format!("the vault's file `{name}` is not there")))
    }

    /// What was sealed to the attempt's key, which is used up by it.
    fn words(&mut self, input: &Json, now_ms: u64) -> Result<Words, Refused> {
        let ciphertext = bytes(input, "ciphertext")?;
        let none = || ("no_attempt", "ask for an attempt's key first".to_owned());
        let (attempt, until_ms) = self.attempt.take().ok_or_else(none)?;
        if now_ms > until_ms {
            return Err(("late", "the attempt's key is too old; ask for another".to_owned()));
        }
        if ciphertext.len() > CIPHERTEXT_BYTES_MAX {
            return Err(("too_large", "what opens a vault has at most 16 KiB".to_owned()));
        }
        let other = || ("bad_input", "not encrypted to the attempt's key".to_owned());
        let plain = seal::open(&attempt, &ciphertext).ok_or_else(other)?;
        // serde's own words would repeat a part of the text
        let unread = |_error| ("bad_input", "what is sealed opens no vault".to_owned());
        Ok(Words(serde_json::from_slice(&plain).map_err(unread)?))
    }
}
