//! What an operator seals for the vault: a secret's value together with its *binding*, which says for what it may be
//! lent, and the words that open the vault. All of it travels as JSON in an age file; no door can read one.

use crate::base64;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// What the box's authority signs of a recipient, before its purpose and the recipient's text: a door or pdp that was
/// taken over has no recipient of its own to offer.
pub const RECIPIENT_CONTEXT: &[u8] = b"kruxos vault recipient 1\n";
/// The recipient is that of the secrets.
pub const FOR_SECRETS: &str = "secrets";
/// The recipient is that of one attempt to open the vault.
pub const FOR_ATTEMPT: &str = "attempt";

/// What is under the authority's signature of a recipient.
#[must_use]
pub fn vouched(purpose: &str, recipient: &str) -> Vec<u8> {
    [RECIPIENT_CONTEXT, purpose.as_bytes(), b"\n", recipient.as_bytes()].concat()
}

/// Longest name of a secret, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest value, and longest user name or password, in bytes: it goes into one header.
pub const VALUE_BYTES_MAX: usize = 16 << 10;
/// Shortest value or password, in bytes: what replies are searched for must not be there by chance.
pub const VALUE_BYTES_MIN: usize = 8;
/// Most entries of one list of a binding.
pub const ENTRIES_MAX: usize = 32;
/// Longest entry of a list of a binding, in bytes.
pub const ENTRY_BYTES_MAX: usize = 512;
/// Most uses within an hour that a binding may count.
pub const USES_MAX: u32 = 1_000_000;
/// What the text of a webhook's key begins with.
pub const WEBHOOK_KEY: &str = "whsec_";
/// How long such a key is, in bytes.
pub const WEBHOOK_KEY_BYTES: RangeInclusive<usize> = 24..=64;
/// The one capability that is lent keys of webhooks, and no other kind of secret.
pub const WEBHOOK_CAPABILITY: &str = "network.webhook";
/// Shortest passphrase of a vault, in bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 12;

/// What a secret is made of.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Value {
    /// One text, which takes the placeholder's place as it is.
    Token(String),
    /// A user and a password, which take it as base 64 of `user:password` (RFC 7617).
    Basic {
        /// Without `:`.
        user: String,
        /// Any printable text.
        password: String,
    },
    /// The key of a webhook, [`WEBHOOK_KEY`] and base 64 of it: it signs what is sent and is never sent itself
    /// (Standard Webhooks 1.0.0, "Signature scheme").
    Webhook(String),
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Value").field(&self.kind()).finish()
    }
}

/// The kinds of value; the difference is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// See [`Value::Token`].
    Token,
    /// See [`Value::Basic`].
    Basic,
    /// See [`Value::Webhook`].
    Webhook,
}

/// For what a secret may be lent. Each list has an entry; one that fits is enough, and each list must have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Names of agents, patterns of them with `*`, or `any`.
    pub agents: Vec<String>,
    /// `category.verb`, or with `@version` for that version alone.
    pub capabilities: Vec<String>,
    /// Hosts as effects have them (lower case, A-labels; an address as text), or `*.` and what such a name ends with.
    pub hosts: Vec<String>,
    /// TCP ports.
    pub ports: Vec<u16>,
    /// Methods of HTTP in capitals.
    pub methods: Vec<String>,
    /// Paths of URLs without what follows `?`: `*` within a segment, `**` across.
    pub paths: Vec<String>,
    /// How often it is lent within an hour; not counted without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_per_hour: Option<u32>,
    /// From when on it is lent no more, in seconds since 1970 (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
}

/// A secret as it is sealed to the vault's recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Its name: what is sealed for one name is of no use under another.
    pub name: String,
    /// The value.
    pub value: Value,
    /// The binding. A new value of a known secret may come without, and has no other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
}

/// What opens the vault, as it is sealed to the key of one attempt. Each act needs some of it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// The passphrase that is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<String>,
    /// The recovery code, in its stead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<String>,
    /// The passphrase from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_passphrase: Option<String>,
    /// To whom the recovery code of a new vault is encrypted: an age recipient of this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Opening").finish_non_exhaustive()
    }
}

/// What is wrong with a secret: which part, and what was expected there. Nothing of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{part}`: {expected}")]
pub struct SecretError {
    /// Which part.
    pub part: &'static str,
    /// What was expected.
    pub expected: &'static str,
}

const fn wrong(part: &'static str, expected: &'static str) -> SecretError {
    SecretError { part, expected }
}

const fn require(
    holds: bool,
    part: &'static str,
    expected: &'static str,
) -> Result<(), SecretError> {
    if holds { Ok(()) } else { Err(wrong(part, expected)) }
}

/// The bytes of a webhook's key, if the text is one.
#[must_use]
pub fn webhook_key(text: &str) -> Option<Vec<u8>> {
    let key = base64::read(text.strip_prefix(WEBHOOK_KEY)?)?;
    WEBHOOK_KEY_BYTES.contains(&key.len()).then_some(key)
}

impl Kind {
    /// Whether a capability, `category.verb@version` or without the version, is lent secrets of this kind.
    #[must_use]
    pub fn is_for(self, capability: &str) -> bool {
        let name = capability.split_once('@').map_or(capability, |(name, _version)| name);
        (self == Self::Webhook) == (name == WEBHOOK_CAPABILITY)
    }
}

/// Checks the name of a secret.
///
/// # Errors
/// [`SecretError`].
pub fn check_name(name: &str) -> Result<(), SecretError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let holds = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain);
    require(holds, "name", "lower-case letters, digits, `-` and `_`, at most 64")
}

impl Value {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Token(_) => Kind::Token,
            Self::Basic { .. } => Kind::Basic,
            Self::Webhook(_) => Kind::Webhook,
        }
    }

    /// Checks that it can stand in a header and be found in a reply.
    ///
    /// # Errors
    /// [`SecretError`], without anything of the value.
    pub fn check(&self) -> Result<(), SecretError> {
        const EXPECTED: &str = "8 bytes to 16 KiB of text without control characters";
        let fits =
            |text: &str| text.len() <= VALUE_BYTES_MAX && !text.chars().any(char::is_control);
        let is_long = |text: &str| text.len() >= VALUE_BYTES_MIN;
        match self {
            Self::Token(value) => require(fits(value) && is_long(value), "value", EXPECTED),
            Self::Basic { user, password } => {
                require(
                    fits(user) && !user.contains(':'),
                    "user",
                    "text without `:` and control characters",
                )?;
                require(fits(password) && is_long(password), "password", EXPECTED)
            }
            Self::Webhook(key) => require(
                webhook_key(key).is_some(),
                "value",
                "`whsec_` and base64 of 24 to 64 bytes",
            ),
        }
    }
}

impl Binding {
    /// Checks every entry; nothing is bound to everything by being left out.
    ///
    /// # Errors
    /// [`SecretError`], the first.
    pub fn check(&self) -> Result<(), SecretError> {
        let agents = "names of agents, patterns with `*`, or `any`; 1 to 32";
        each("agents", &self.agents, is_agent, agents)?;
        let capabilities = "`category.verb` or `category.verb@version`; 1 to 32";
        each("capabilities", &self.capabilities, is_capability, capabilities)?;
        let hosts = "lower-case host names, `*.suffix`, or addresses; 1 to 32";
        each("hosts", &self.hosts, is_host, hosts)?;
        each("methods", &self.methods, is_method, "methods of HTTP in capitals; 1 to 32")?;
        let paths = "paths that begin with `/`, without `?`, `#`, `.` and `..`; 1 to 32";
        each("paths", &self.paths, is_path, paths)?;
        let ports = (1..=ENTRIES_MAX).contains(&self.ports.len()) && !self.ports.contains(&0);
        require(ports, "ports", "1 to 32 numbers of 1 to 65535")?;
        let uses = self.uses_per_hour.is_none_or(|uses| (1..=USES_MAX).contains(&uses));
        require(uses, "uses_per_hour", "1 to 1,000,000")
    }
}

impl Sealed {
    /// Checks all of it.
    ///
    /// # Errors
    /// [`SecretError`], the first.
    pub fn check(&self) -> Result<(), SecretError> {
        check_name(&self.name)?;
        self.value.check()?;
        let Some(binding) = &self.binding else { return Ok(()) };
        binding.check()?;
        let fit = binding.capabilities.iter().all(|one| self.value.kind().is_for(one));
        require(fit, "capabilities", "network.webhook for a webhook's key, and for no other kind")
    }
}

/// Whether a list has entries, and each fits.
fn each(
    part: &'static str,
    entries: &[String],
    fits: fn(&str) -> bool,
    expected: &'static str,
) -> Result<(), SecretError> {
    let count = (1..=ENTRIES_MAX).contains(&entries.len());
    let fit = |entry: &String| entry.len() <= ENTRY_BYTES_MAX && fits(entry);
    require(count && entries.iter().all(fit), part, expected)
}

fn is_agent(entry: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*');
    !entry.is_empty() && entry.bytes().all(plain)
}

fn is_capability(entry: &str) -> bool {
    let (name, version) = entry.split_once('@').unwrap_or((entry, "1"));
    let word = |word: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        !word.is_empty() && word.bytes().all(plain)
    };
    let number = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
    number && name.split_once('.').is_some_and(|(category, verb)| word(category) && word(verb))
}

fn is_host(entry: &str) -> bool {
    let label = |label: &str| {
        let plain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    if let Ok(address) = entry.parse::<IpAddr>() {
        return address.to_string() == entry;
    }
    // what ends with a number is another spelling of an address, which servers and resolvers read differently
    let name = entry.strip_prefix("*.").unwrap_or(entry);
    let last = name.rsplit('.').next().and_then(|last| last.bytes().next());
    name.split('.').all(label) && !last.is_some_and(|first| first.is_ascii_digit())
}

fn is_method(entry: &str) -> bool {
    !entry.is_empty() && entry.bytes().all(|b| b.is_ascii_uppercase() || b == b'-')
}

fn is_path(entry: &str) -> bool {
    entry.starts_with('/') && is_plain_path(entry)
}

/// Whether a path says where it leads: no segment `.` or `..`, plain or percent-encoded, no encoded `/` and no `\`,
/// nothing after a `?` or `#`, and nothing but printable ASCII.
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    let low = path.to_ascii_lowercase();
    let hides = ["%2f", "%5c", "\\", "?", "#"].iter().any(|part| low.contains(part));
    let dots = low.replace("%2e", ".");
    let turns = dots.split('/').any(|segment| {
        let segment = segment.split(';').next().unwrap_or(segment);
        segment == "." || segment == ".."
    });
    !hides && !turns && path.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Binding {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        Binding {
            agents: list(&["build-*"]),
            capabilities: list(&["network.http_request", "git.push@1"]),
            hosts: list(&["api.example.com", "*.example.org", "192.0.2.1", "2001:db8::1"]),
            ports: vec![443],
            methods: list(&["GET"]),
            paths: list(&["/v1/**"]),
            uses_per_hour: Some(1),
            expires_s: None,
        }
    }

    #[test]
    fn a_binding_says_everything_in_its_one_form() {
        assert_eq!(binding().check(), Ok(()));
        let check = |change: fn(&mut Binding)| {
            let mut changed = binding();
            change(&mut changed);
            changed.check().unwrap_err().part
        };
        assert_eq!(check(|b| b.agents.clear()), "agents");
        assert_eq!(check(|b| b.agents = vec!["Build".to_owned()]), "agents");
        assert_eq!(check(|b| b.capabilities = vec!["network".to_owned()]), "capabilities");
        assert_eq!(check(|b| b.capabilities = vec!["network.http@".to_owned()]), "capabilities");
        for host in [
            "Example.com",
            "example.com.",
            "*",
            "*.",
            "a*.example.com",
            "192.0.2.01",
            "0x7f.1/",
            "::0:1",
            "",
        ] {
            let changed = Binding { hosts: vec![host.to_owned()], ..binding() };
            assert_eq!(changed.check().unwrap_err().part, "hosts", "{host}");
        }
        assert_eq!(check(|b| b.ports = vec![0]), "ports");
        assert_eq!(check(|b| b.ports.clear()), "ports");
        assert_eq!(check(|b| b.methods = vec!["get".to_owned()]), "methods");
        for path in ["v1", "/a?b", "/a/../b", "/%2E%2e/b", "/a%2fb", "/a\\b", "/a/..;x/b", "/a b"] {
            let changed = Binding { paths: vec![path.to_owned()], ..binding() };
            assert_eq!(changed.check().unwrap_err().part, "paths", "{path}");
        }
        assert_eq!(check(|b| b.uses_per_hour = Some(0)), "uses_per_hour");
        assert_eq!(check(|b| b.methods = vec!["GET".to_owned(); ENTRIES_MAX + 1]), "methods");
    }

    #[test]
    fn a_value_can_stand_in_a_header_and_is_not_shown() {
        let token = |value: &str| Value::Token(value.to_owned());
        assert_eq!(token("canary-value").check(), Ok(()));
        for value in ["short", "with\r\nHost: other.example", &"x".repeat(VALUE_BYTES_MAX + 1)] {
            assert_eq!(token(value).check().unwrap_err().part, "value");
        }
        let basic = |user: &str, password: &str| {
            Value::Basic { user: user.to_owned(), password: password.to_owned() }.check()
        };
        assert_eq!(basic("ann", "canary-value"), Ok(()));
        assert_eq!(basic("a:n", "canary-value").unwrap_err().part, "user");
        assert_eq!(basic("ann", "pass\nword-x").unwrap_err().part, "password");
        let key = |bytes: usize| format!("whsec_{}", base64::write(&vec![7; bytes]));
        let webhook = |text: &str| Value::Webhook(text.to_owned()).check();
        for bytes in [24, 64] {
            assert_eq!(webhook(&key(bytes)), Ok(()));
            assert_eq!(webhook_key(&key(bytes)), Some(vec![7; bytes]));
        }
        for other in [key(23), key(65), key(24).replace("whsec_", ""), "whsec_x".to_owned()] {
            assert_eq!(webhook(&other).unwrap_err().part, "value", "{other}");
        }
        let sealed = Sealed { name: "a".to_owned(), value: token("canary-value"), binding: None };
        assert!(!format!("{sealed:?}").contains("canary"));
        assert_eq!(
            Sealed { name: "../a".to_owned(), ..sealed.clone() }.check().unwrap_err().part,
            "name"
        );
        // a key of a webhook is for webhooks, and nothing else is
        let bound = |capability: &str, value: Value| {
            let binding = Some(Binding { capabilities: vec![capability.to_owned()], ..binding() });
            Sealed { binding, value, ..sealed.clone() }.check().map_err(|error| error.part)
        };
        let hook = || Value::Webhook(key(32));
        assert_eq!(bound("network.webhook", hook()), Ok(()));
        assert_eq!(bound("network.webhook@1", hook()), Ok(()));
        assert_eq!(bound("network.http_request", hook()), Err("capabilities"));
        assert_eq!(bound("network.webhook@1", token("canary-value")), Err("capabilities"));
    }
}
