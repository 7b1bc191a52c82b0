//! Effects: what a call would do, field by field. Policy decides them, people are shown them, the
//! cage is cut to them, the ledger keeps them; all speak of the same values.

use crate::found::Found;
use crate::path::CanonicalPath;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The kinds of effect. More come by decision record only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A report about the box or the caller.
    Observe,
    /// The content, names or attributes of a file or directory.
    Read,
    /// A file or directory made or changed.
    Write,
    /// A file or directory removed from its place.
    Delete,
    /// A closed program.
    Run,
    /// A program that runs what the agent wrote.
    Code,
    /// A connection.
    Connect,
    /// A name looked up.
    Resolve,
    /// A secret used for a place.
    Secret,
    /// Refs of a repository changed.
    Push,
    /// Refs of a repository read.
    Fetch,
    /// A setting changed.
    Setting,
    /// A message sent.
    Message,
}

/// The fields of effects; each has one type for all kinds that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// What is reported on.
    Subject,
    /// A place in the agent's tree.
    Path,
    /// A length in bytes.
    Bytes,
    /// A program's name.
    Program,
    /// Its arguments.
    Argv,
    /// Directories that code may touch.
    Roots,
    /// SHA-256 over what lies beneath them, which is asserted before the code begins.
    Digest,
    /// A host name in lower-case A-labels, or an address as text.
    Host,
    /// An IP address.
    Address,
    /// A TCP port.
    Port,
    /// An HTTP method.
    Method,
    /// The path of a URL.
    UrlPath,
    /// The name of a secret or setting.
    Name,
    /// A repository.
    Repository,
    /// A git ref.
    Ref,
    /// The object that a ref names before.
    Old,
    /// The object that it names after.
    New,
    /// Who gets a message.
    To,
}

/// How the value of a field is written and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A canonical path: patterns are globs within and across segments.
    Path,
    /// A host: `*` stands for one or more leftmost labels.
    Host,
    /// An IP address: CIDR sets.
    Address,
    /// A whole number: intervals.
    Number,
    /// Words: `*` stands for any characters but `/`, `**` for any.
    Text,
    /// A list of words, compared as a whole.
    List,
}

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A canonical path.
    Path(CanonicalPath),
    /// A whole number.
    Number(u64),
    /// Text, a host or an address in its canonical form.
    Text(String),
    /// A list of words.
    List(Vec<String>),
}

/// Which of the four forms an effect has; the difference is always visible to policy and human.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// One object, fully described.
    Exact,
    /// The path and everything beneath it.
    Region,
    /// One object with a precondition that is asserted again when it is performed.
    Expecting,
    /// Whatever the program does within its envelope.
    Code,
}

/// One effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// What kind of effect.
    pub kind: Kind,
    /// In which form.
    pub form: Form,
    /// Its fields; a field that the kind does not have cannot be here ([`Effect::new`]).
    pub fields: BTreeMap<Field, Value>,
    /// What a person was shown at its path, and what must be there when it is performed. No policy
    /// speaks of it: a call is decided before anybody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expects: Option<Found>,
}

/// A field that a kind of effect does not have, or a value of another type than the field's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an effect of kind `{kind}` has no field `{field}` of this type")]
pub struct EffectError {
    kind: Kind,
    field: Field,
}

impl Effect {
    /// An effect with these fields.
    ///
    /// # Errors
    /// When a field does not belong to the kind, or a value not to the field.
    pub fn new(
        kind: Kind,
        form: Form,
        fields: impl IntoIterator<Item = (Field, Value)>,
    ) -> Result<Self, EffectError> {
        let fields: BTreeMap<Field, Value> = fields.into_iter().collect();
        for (&field, value) in &fields {
            let typed = matches!(
                (field.ty(), value),
                (Type::Path, Value::Path(_))
                    | (Type::Number, Value::Number(_))
                    | (Type::Host | Type::Address | Type::Text, Value::Text(_))
                    | (Type::List, Value::List(_))
            );
            if !typed || !kind.fields().contains(&field) {
                return Err(EffectError { kind, field });
            }
        }
        Ok(Self { kind, form, fields, expects: None })
    }

    /// The same effect with this precondition.
    #[must_use]
    pub fn expecting(self, found: Found) -> Self {
        let form = if self.form == Form::Exact { Form::Expecting } else { self.form };
        Self { form, expects: Some(found), ..self }
    }

    /// The same effect without a precondition: what its call was lowered to.
    #[must_use]
    pub fn bare(&self) -> Self {
        let form = if self.form == Form::Expecting { Form::Exact } else { self.form };
        Self { kind: self.kind, form, fields: self.fields.clone(), expects: None }
    }

    /// The value of a field, if the effect has it.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&Value> {
        self.fields.get(&field)
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::Observe,
        Self::Read,
        Self::Write,
        Self::Delete,
        Self::Run,
        Self::Code,
        Self::Connect,
        Self::Resolve,
        Self::Secret,
        Self::Push,
        Self::Fetch,
        Self::Setting,
        Self::Message,
    ];

    /// Its name in policies, the ledger and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Run => "run",
            Self::Code => "code",
            Self::Connect => "connect",
            Self::Resolve => "resolve",
            Self::Secret => "secret",
            Self::Push => "push",
            Self::Fetch => "fetch",
            Self::Setting => "setting",
            Self::Message => "message",
        }
    }

    /// The fields that an effect of this kind may have.
    #[must_use]
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::Observe => &[Field::Subject],
            Self::Read | Self::Delete => &[Field::Path],
            Self::Write => &[Field::Path, Field::Bytes],
            Self::Run => &[Field::Program, Field::Argv],
            Self::Code => &[Field::Roots, Field::Program, Field::Argv, Field::Digest],
            Self::Connect => &[
                Field::Host,
                Field::Address,
                Field::Port,
                Field::Method,
                Field::UrlPath,
                Field::Bytes,
            ],
            Self::Resolve => &[Field::Host],
            Self::Secret => &[Field::Name, Field::Host, Field::Port, Field::Method, Field::UrlPath],
            Self::Push | Self::Fetch => {
                &[Field::Host, Field::Repository, Field::Ref, Field::Old, Field::New]
            }
            Self::Setting => &[Field::Name],
            Self::Message => &[Field::To, Field::Bytes],
        }
    }
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 18] = [
        Self::Subject,
        Self::Path,
        Self::Bytes,
        Self::Program,
        Self::Argv,
        Self::Roots,
        Self::Digest,
        Self::Host,
        Self::Address,
        Self::Port,
        Self::Method,
        Self::UrlPath,
        Self::Name,
        Self::Repository,
        Self::Ref,
        Self::Old,
        Self::New,
        Self::To,
    ];

    /// Its name in policies, the ledger and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Path => "path",
            Self::Bytes => "bytes",
            Self::Program => "program",
            Self::Argv => "argv",
            Self::Roots => "roots",
            Self::Digest => "digest",
            Self::Host => "host",
            Self::Address => "address",
            Self::Port => "port",
            Self::Method => "method",
            Self::UrlPath => "url_path",
            Self::Name => "name",
            Self::Repository => "repository",
            Self::Ref => "ref",
            Self::Old => "old",
            Self::New => "new",
            Self::To => "to",
        }
    }

    /// The type of its values.
    #[must_use]
    pub const fn ty(self) -> Type {
        match self {
            Self::Path => Type::Path,
            Self::Host => Type::Host,
            Self::Address => Type::Address,
            Self::Bytes | Self::Port => Type::Number,
            Self::Argv | Self::Roots => Type::List,
            Self::Digest
            | Self::Subject
            | Self::Program
            | Self::Method
            | Self::UrlPath
            | Self::Name
            | Self::Repository
            | Self::Ref
            | Self::Old
            | Self::New
            | Self::To => Type::Text,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The one renderer of effects, for every screen, notice and approval: no character that could
/// move a cursor, turn a line around or hide passes it.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.form {
            Form::Exact | Form::Expecting => write!(f, "{}", self.kind)?,
            Form::Region => write!(f, "{} everything under", self.kind)?,
            Form::Code => f.write_str("runs code that the agent wrote; may do anything within")?,
        }
        for field in self.kind.fields() {
            let Some(value) = self.fields.get(field) else { continue };
            match (field, value) {
                (Field::Path, Value::Path(path)) => write!(f, " {}", visible(path.as_str()))?,
                (_, Value::Path(path)) => write!(f, " {field}={}", visible(path.as_str()))?,
                (_, Value::Number(number)) => write!(f, " {field}={number}")?,
                (_, Value::Text(text)) => write!(f, " {field}={}", visible(text))?,
                (_, Value::List(words)) => write!(f, " {field}=[{}]", visible(&words.join(", ")))?,
            }
        }
        match &self.expects {
            Some(found) => write!(f, "; {found}"),
            None => Ok(()),
        }
    }
}

/// Whether a character is not seen as itself: control characters, those without width, and those that turn
/// the direction of text.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text with everything but printable characters of one direction written as `\u{…}`.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) || character == '\\' {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_another_kind_is_refused() {
        let path = Value::Path(CanonicalPath::parse("/workspace/a").unwrap());
        assert!(Effect::new(Kind::Read, Form::Exact, [(Field::Path, path.clone())]).is_ok());
        assert!(Effect::new(Kind::Observe, Form::Exact, [(Field::Path, path)]).is_err());
        let text = Value::Text("x".to_owned());
        assert!(Effect::new(Kind::Read, Form::Exact, [(Field::Path, text)]).is_err());
    }

    #[test]
    fn what_is_shown_cannot_deceive_a_terminal() {
        let path = CanonicalPath::parse("/workspace/a\u{202e}txt.exe\u{1b}[2J").unwrap();
        let effect = Effect::new(Kind::Read, Form::Exact, [(Field::Path, Value::Path(path))]);
        let shown = effect.unwrap().to_string();
        assert_eq!(shown, "read /workspace/a\\u{202e}txt.exe\\u{1b}[2J");
    }

    #[test]
    fn a_precondition_is_shown_and_comes_off_again() {
        let path = CanonicalPath::parse("/workspace/a").unwrap();
        let effect = Effect::new(Kind::Delete, Form::Exact, [(Field::Path, Value::Path(path))]);
        let effect = effect.unwrap();
        let expecting = effect.clone().expecting(Found::Nothing);
        assert_eq!(expecting.form, Form::Expecting);
        assert_eq!(expecting.to_string(), "delete /workspace/a; nothing is there");
        assert_eq!(expecting.bare(), effect);
        let region = Effect { form: Form::Region, ..effect };
        assert_eq!(region.clone().expecting(Found::Nothing).form, Form::Region);
        assert_eq!(region.clone().expecting(Found::Nothing).bare(), region);
        // records of before have no such member, and are read and written as they were
        let bytes = crate::cbor::encode(&region).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("expects"));
        assert_eq!(crate::cbor::decode::<Effect>(&bytes).unwrap(), region);
        let bytes = crate::cbor::encode(&expecting).unwrap();
        assert_eq!(crate::cbor::decode::<Effect>(&bytes).unwrap(), expecting);
    }

    #[test]
    fn every_field_belongs_to_a_kind_and_has_one_name() {
        let mut names = std::collections::BTreeSet::new();
        for field in Field::ALL {
            assert!(Kind::ALL.iter().any(|kind| kind.fields().contains(&field)), "{field}");
            assert!(names.insert(field.name()));
        }
    }
}
