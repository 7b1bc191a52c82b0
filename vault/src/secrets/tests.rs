//! The life of a vault and of its secrets, and the power cut in the middle of it.

use super::*;
use crate::opening::ATTEMPT_MS_MAX;
use age::x25519::{Identity, Recipient};
use contract::digits::hex;
use contract::secret::{Binding, Opening, Value};

const PASSPHRASE: &str = "correct horse battery";
const OTHER: &str = "another horse battery";

/// A directory of one test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vault-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    fn open(&self) -> Secrets {
        Secrets::open(self.0.clone()).unwrap()
    }

    /// Every byte of every file.
    fn bytes(&self) -> Vec<u8> {
        fn of(path: &std::path::Path, bytes: &mut Vec<u8>) {
            for entry in std::fs::read_dir(path).unwrap().flatten() {
                if entry.path().is_dir() {
                    of(&entry.path(), bytes);
                } else {
                    bytes.extend(std::fs::read(entry.path()).unwrap());
                }
            }
        }
        let mut bytes = Vec::new();
        of(&self.0, &mut bytes);
        bytes
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub(crate) fn now(wall_s: u64) -> Now {
    Now { boot_ms: 0, wall_s }
}

pub(crate) fn list(entry: &str) -> Vec<String> {
    vec![entry.to_owned()]
}

pub(crate) fn canary(number: u32) -> Value {
    Value::Token(format!("canary-value-{number}"))
}

fn binding() -> Binding {
    Binding {
        agents: list("any"),
        capabilities: list("network.http_request"),
        hosts: list("api.example.com"),
        ports: vec![443],
        methods: list("GET"),
        paths: list("/**"),
        uses_per_hour: None,
        expires_s: Some(100),
    }
}

/// The input of an act on a secret, as the operator's command makes it.
pub(crate) fn seal_to(
    recipient: &Recipient,
    name: &str,
    value: Value,
    binding: Option<Binding>,
) -> Json {
    let sealed = Sealed { name: name.to_owned(), value, binding };
    let text = age::encrypt(recipient, &serde_json::to_vec(&sealed).unwrap()).unwrap();
    let Sealed { value, binding, .. } = sealed;
    json!({ "name": name, "kind": value.kind(), "binding": binding, "ciphertext": hex(&text) })
}

#[expect(clippy::needless_pass_by_value, reason = "what is made for one call")]
fn attempt(secrets: &mut Secrets, act: &str, opening: Opening) -> Done {
    let key = secrets.act("vault.attempt", b"{}", now(0)).unwrap();
    let key: Recipient = key["recipient"].as_str().unwrap().parse().unwrap();
    let sealed = age::encrypt(&key, &serde_json::to_vec(&opening).unwrap()).unwrap();
    let input = json!({ "ciphertext": hex(&sealed) }).to_string();
    secrets.act(act, input.as_bytes(), now(1))
}

fn with(passphrase: &str) -> Opening {
    Opening { passphrase: Some(passphrase.to_owned()), ..Opening::default() }
}

pub(crate) fn unlock(secrets: &mut Secrets) -> Done {
    attempt(secrets, "vault.unlock", with(PASSPHRASE))
}

pub(crate) fn rekey(secrets: &mut Secrets) {
    attempt(secrets, "vault.rekey", with(PASSPHRASE)).unwrap();
}

/// A new vault; its recovery code comes back for the operator alone.
fn make(secrets: &mut Secrets) -> (Recipient, String) {
    let operator = Identity::generate();
    let recipient = Some(operator.to_public().to_string());
    let made = attempt(secrets, "vault.unlock", Opening { recipient, ..with(PASSPHRASE) }).unwrap();
    let code = unhex(made["recovery"].as_str().unwrap()).unwrap();
    let code = String::from_utf8(age::decrypt(&operator, &code).unwrap()).unwrap();
    (made["recipient"].as_str().unwrap().parse().unwrap(), code)
}

pub(crate) fn unlocked(folder: &Folder) -> (Secrets, Recipient) {
    let mut secrets = folder.open();
    let (recipient, _code) = make(&mut secrets);
    (secrets, recipient)
}

fn act(secrets: &mut Secrets, name: &str, input: &Json) -> Done {
    secrets.act(name, input.to_string().as_bytes(), now(10))
}

fn code(done: Done) -> &'static str {
    done.map_or_else(|refused| refused.0, |_answer| "ok")
}

fn lent(secrets: &Secrets, name: &str) -> Option<(u64, Vec<u8>)> {
    secrets.value(name).map(|(version, lent)| (version, lent.value.0))
}

#[test]
fn a_secret_is_sealed_to_the_vault_and_only_the_passphrase_unlocks_it() {
    let folder = Folder::new("sealed");
    let mut secrets = folder.open();
    assert_eq!(code(attempt(&mut secrets, "vault.unlock", with("short"))), "bad_input");
    assert_eq!(code(unlock(&mut secrets)), "bad_input", "without a place for its recovery code");
    let (recipient, _) = make(&mut secrets);
    let input = seal_to(&recipient, "token", canary(1), Some(binding()));
    act(&mut secrets, "vault.add", &input).unwrap();
    assert_eq!(lent(&secrets, "token"), Some((1, b"canary-value-1".to_vec())));
    let shown = act(&mut secrets, "vault.list", &json!({})).unwrap();
    assert_eq!(shown["secrets"][0]["binding"], json!(binding()));

    let mut again = folder.open();
    assert_eq!(code(act(&mut again, "vault.add", &input)), "locked");
    assert_eq!(lent(&again, "token"), None);
    let locked = act(&mut again, "vault.list", &json!({})).unwrap();
    assert_eq!(locked["secrets"], shown["secrets"], "bindings are listed while it is locked");
    let wrong = attempt(&mut again, "vault.unlock", with("correct horse bakery"));
    assert_eq!(code(wrong), "wrong_passphrase");
    let status = unlock(&mut again).unwrap();
    assert_eq!(status["recipient"], json!(recipient.to_string()));
    assert_eq!(lent(&again, "token"), Some((1, b"canary-value-1".to_vec())));
    act(&mut again, "vault.lock", &json!({})).unwrap();
    assert_eq!(lent(&again, "token"), None);
    let all = [folder.bytes(), shown.to_string().into(), status.to_string().into()].concat();
    assert!(!all.windows(6).any(|part| part == b"canary"));
}

#[test]
fn what_is_bound_is_what_was_sealed_with_the_value() {
    let folder = Folder::new("bound");
    let (mut secrets, recipient) = unlocked(&folder);
    let good = seal_to(&recipient, "token", canary(1), Some(binding()));
    let mut spoil = |change: &dyn Fn(&mut Json)| {
        let mut input = good.clone();
        change(&mut input);
        code(act(&mut secrets, "vault.add", &input))
    };
    assert_eq!(spoil(&|input| input["name"] = json!("other")), "bad_input");
    assert_eq!(spoil(&|input| input["binding"]["hosts"] = json!(["evil.example"])), "bad_input");
    assert_eq!(spoil(&|input| input["kind"] = json!("basic")), "bad_input");
    assert_eq!(spoil(&|input| input["ciphertext"] = json!("00")), "bad_input");
    assert_eq!(spoil(&|input| input["ciphertext"] = json!("0")), "bad_input");
    let long = "00".repeat(SEALED_BYTES_MAX + 1);
    assert_eq!(spoil(&|input| input["ciphertext"] = json!(long)), "too_large");
    let other = Identity::generate().to_public();
    assert_eq!(
        spoil(&|input| *input = seal_to(&other, "token", canary(1), Some(binding()))),
        "bad_input"
    );
    assert_eq!(spoil(&|input| *input = seal_to(&recipient, "token", canary(1), None)), "bad_input");
    let over = Binding { expires_s: Some(10), ..binding() };
    assert_eq!(
        spoil(&|input| *input = seal_to(&recipient, "token", canary(1), Some(over.clone()))),
        "bad_input"
    );
    assert_eq!(spoil(&|_input| {}), "ok", "the control");
    assert_eq!(spoil(&|_input| {}), "exists");
    // who can write the disk changes a list of a locked vault, and nothing else
    let copy = folder.0.join("generation-1/secrets/token.json");
    let text = std::fs::read_to_string(&copy).unwrap();
    std::fs::write(&copy, text.replace("api.example.com", "evil.example")).unwrap();
    let held = |secrets: &Secrets| secrets.opened.as_ref().unwrap().held("token").cloned().unwrap();
    unlock(&mut secrets).unwrap();
    assert_eq!(held(&secrets).binding, binding());
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), text, "the copy is made anew");
}

#[test]
fn a_rotation_keeps_the_binding_and_the_value_before() {
    let folder = Folder::new("rotated");
    let (mut secrets, recipient) = unlocked(&folder);
    let input = |number, binding| seal_to(&recipient, "token", canary(number), binding);
    assert_eq!(code(act(&mut secrets, "vault.rotate", &input(2, None))), "not_found");
    act(&mut secrets, "vault.add", &input(1, Some(binding()))).unwrap();
    let other = Binding { hosts: list("evil.example"), ..binding() };
    assert_eq!(code(act(&mut secrets, "vault.rotate", &input(2, Some(other)))), "bad_input");
    let value = Value::Basic { user: "a".to_owned(), password: "canary-value".to_owned() };
    let basic = seal_to(&recipient, "token", value, None);
    assert_eq!(code(act(&mut secrets, "vault.rotate", &basic)), "bad_input");
    assert_eq!(lent(&secrets, "token"), Some((1, b"canary-value-1".to_vec())));
    assert_eq!(code(act(&mut secrets, "vault.rotate", &input(2, None))), "ok");
    assert_eq!(code(act(&mut secrets, "vault.rotate", &input(3, Some(binding())))), "ok");
    assert_eq!(lent(&secrets, "token"), Some((3, b"canary-value-3".to_vec())));
    let name = json!({ "name": "token" });
    assert_eq!(code(act(&mut secrets, "vault.revoke", &name)), "ok");
    assert_eq!(lent(&secrets, "token"), None);
    assert_eq!(code(act(&mut secrets, "vault.revoke", &name)), "not_found");
    assert_eq!(code(act(&mut secrets, "vault.revoke", &json!({ "name": "../../x" }))), "bad_input");
}

#[test]
fn a_passphrase_is_changed_by_who_has_it_or_the_recovery_code() {
    let folder = Folder::new("passphrase");
    let mut secrets = folder.open();
    let (recipient, words) = make(&mut secrets);
    let input = seal_to(&recipient, "token", canary(1), Some(binding()));
    act(&mut secrets, "vault.add", &input).unwrap();
    let new = |new: &str| Some(new.to_owned());
    let change = |old: &str| Opening { new_passphrase: new(OTHER), ..with(old) };
    let mut ask = |act: &str, opening: Opening| code(attempt(&mut secrets, act, opening));
    assert_eq!(ask("vault.passphrase", change("correct horse bakery")), "wrong_passphrase");
    let short = Opening { new_passphrase: new("short"), ..with(PASSPHRASE) };
    assert_eq!(ask("vault.passphrase", short), "bad_input");
    assert_eq!(ask("vault.passphrase", change(PASSPHRASE)), "ok");
    assert_eq!(ask("vault.unlock", with(PASSPHRASE)), "wrong_passphrase");
    assert_eq!(ask("vault.unlock", with(OTHER)), "ok");
    let recover = |recovery: &str| Opening {
        recovery: Some(recovery.to_owned()),
        new_passphrase: new(PASSPHRASE),
        ..Opening::default()
    };
    let mut wrong = words.clone();
    wrong.replace_range(0..1, if words.starts_with('A') { "B" } else { "A" });
    assert_eq!(ask("vault.recover", recover(&wrong)), "wrong_recovery");
    assert_eq!(ask("vault.recover", recover("nothing")), "wrong_recovery");
    assert_eq!(ask("vault.recover", recover(&words.to_lowercase())), "ok");
    assert_eq!(lent(&secrets, "token"), Some((1, b"canary-value-1".to_vec())));
    assert_eq!(code(unlock(&mut folder.open())), "ok");
}

#[test]
fn other_keys_open_every_secret_and_the_old_ones_none() {
    let folder = Folder::new("rekey");
    let mut secrets = folder.open();
    let (recipient, words) = make(&mut secrets);
    for name in ["one", "two"] {
        let input = seal_to(&recipient, name, canary(1), Some(binding()));
        act(&mut secrets, "vault.add", &input).unwrap();
    }
    assert_eq!(code(attempt(&mut secrets, "vault.rekey", with(OTHER))), "wrong_passphrase");
    let old = secrets.opened.take().unwrap().keys;
    let answer = attempt(&mut secrets, "vault.rekey", with(PASSPHRASE)).unwrap();
    assert_ne!(answer["recipient"], json!(recipient.to_string()));
    assert!(secrets.read(&old, "one").is_err());
    let mut again = folder.open();
    let recover = Opening {
        recovery: Some(words),
        new_passphrase: Some(OTHER.to_owned()),
        ..Opening::default()
    };
    attempt(&mut again, "vault.recover", recover).unwrap();
    assert_eq!(lent(&again, "two"), Some((1, b"canary-value-1".to_vec())));
    let left = std::fs::read_dir(&folder.0).unwrap().flatten().count();
    assert_eq!(left, 2, "`current` and one generation");
}

/// Cuts the power after each change of the disk that `change` makes, and looks at what is there then.
fn cut_everywhere(
    name: &str,
    change: impl Fn(&mut Secrets, &Recipient) -> Done,
    check: impl Fn(&mut Secrets, u32),
) -> u32 {
    for changes in 0.. {
        let folder = Folder::new(&format!("{name}-{changes}"));
        let (mut secrets, recipient) = unlocked(&folder);
        for name in ["one", "two"] {
            let input = seal_to(&recipient, name, canary(1), Some(binding()));
            act(&mut secrets, "vault.add", &input).unwrap();
        }
        secrets.store.changes_left.set(Some(changes));
        let done = change(&mut secrets, &recipient);
        let mut again = folder.open();
        assert_eq!(code(unlock(&mut again)), "ok", "{name} cut after {changes}");
        check(&mut again, changes);
        if done.is_ok() {
            return changes;
        }
    }
    unreachable!()
}

#[test]
fn a_power_cut_leaves_all_keys_as_before_or_all_anew() {
    let changes = cut_everywhere(
        "cut-rekey",
        |secrets, _| attempt(secrets, "vault.rekey", with(PASSPHRASE)),
        |secrets, changes| {
            for name in ["one", "two"] {
                let value = lent(secrets, name);
                assert_eq!(value, Some((1, b"canary-value-1".to_vec())), "after {changes}");
            }
            assert_eq!(code(attempt(secrets, "vault.rekey", with(PASSPHRASE))), "ok");
        },
    );
    assert!(changes > 8, "each of its files was cut: {changes}");
}

#[test]
fn a_power_cut_leaves_the_old_value_or_the_new() {
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let rotate = |secrets: &mut Secrets, recipient: &Recipient| {
        act(secrets, "vault.rotate", &seal_to(recipient, "one", canary(2), None))
    };
    cut_everywhere("cut-rotate", rotate, |secrets, _| {
        let (version, value) = lent(secrets, "one").unwrap();
        assert_eq!(value, format!("canary-value-{version}").into_bytes());
        seen.borrow_mut().insert(version);
        assert_eq!(lent(secrets, "two").unwrap().0, 1);
    });
    assert_eq!(seen.into_inner().into_iter().collect::<Vec<_>>(), [1, 2]);
    let change = |secrets: &mut Secrets, _: &Recipient| {
        // the same words again: what is looked at is that one of both passphrases is there, whole
        let opening = Opening { new_passphrase: Some(PASSPHRASE.to_owned()), ..with(PASSPHRASE) };
        attempt(secrets, "vault.passphrase", opening)
    };
    cut_everywhere("cut-passphrase", change, |secrets, _| {
        assert_eq!(lent(secrets, "one").unwrap().0, 1);
    });
}

#[test]
fn an_attempt_is_asked_for_first_and_grows_old() {
    let folder = Folder::new("late");
    let mut secrets = folder.open();
    let unlock = br#"{"ciphertext":"00"}"#;
    let at = |boot_ms| Now { boot_ms, wall_s: 0 };
    assert_eq!(secrets.act("vault.unlock", unlock, at(0)).unwrap_err().0, "no_attempt");
    secrets.act("vault.attempt", b"{}", at(0)).unwrap();
    let late = secrets.act("vault.unlock", unlock, at(ATTEMPT_MS_MAX + 1));
    assert_eq!(late.unwrap_err().0, "late");
    assert_eq!(secrets.act("vault.nosuch", b"{}", at(0)).unwrap_err().0, "unknown_act");
    let empty = attempt(&mut secrets, "vault.rekey", with(PASSPHRASE));
    assert_eq!(code(empty), "locked", "there is none yet");
    make(&mut secrets);
    std::fs::remove_dir_all(&folder.0).unwrap();
    assert_eq!(code(act(&mut secrets, "vault.list", &json!({}))), "failed");
}

#[test]
fn a_process_that_holds_secrets_leaves_no_core() {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable, "the control");
    linux::memory::hide().unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    assert_eq!(getrlimit(Resource::Core).current, Some(0));
    if let Some(most) = getrlimit(Resource::Memlock).current {
        assert!(!linux::memory::lock(most + 1).unwrap(), "more than it may lock");
    }
}
