//! Inputs: JSON objects, checked against the declared parameters. What is not declared is refused.

use crate::declaration::{Declaration, PLACES_MAX, Parameter, Shape};
use crate::program::Command;
use crate::programs::{OPEN, PROGRAMS};
use contract::digits::unhex_array;
use contract::headers::{self, Headers};
use contract::path::CanonicalPath;
use contract::url::{Host, Url};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One checked argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A path in canonical form.
    Path(CanonicalPath),
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// A call's number.
    Call([u8; 16]),
    /// A command.
    Command(Command),
    /// Places to connect to, in canonical form, each once.
    Places(Vec<SocketAddr>),
    /// A URL.
    Url(Url),
    /// A machine.
    Host(Host),
    /// Headers.
    Headers(Headers),
}

/// An input that its declaration accepts. It can be made in no other way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    arguments: BTreeMap<&'static str, Argument>,
}

impl Accepted {
    /// The argument of a parameter, if the call gave it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Argument> {
        self.arguments.get(name)
    }
}

/// Why an input is refused, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Not a JSON object.
    #[error("the input is no JSON object; send an object with the parameters as its members")]
    NotAnObject,
    /// A member that is no parameter.
    #[error("`{0}` is no parameter; the parameters are: {1}")]
    Unknown(String, String),
    /// A required parameter that is not there.
    #[error("`{name}` is missing: {meaning}")]
    Missing {
        /// The parameter.
        name: &'static str,
        /// What it means.
        meaning: &'static str,
    },
    /// A value of another shape.
    #[error("`{name}`: expected {expected}")]
    Shape {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        expected: String,
    },
}

impl Declaration {
    /// Checks an input.
    ///
    /// # Errors
    /// [`InputError`], the first one.
    pub fn accept(&self, input: &Json) -> Result<Accepted, InputError> {
        let members = input.as_object().ok_or(InputError::NotAnObject)?;
        self.refuse_unknown(members)?;
        let mut arguments = BTreeMap::new();
        for parameter in self.parameters {
            match members.get(parameter.name) {
                None | Some(Json::Null) if parameter.required => {
                    let Parameter { name, meaning, .. } = *parameter;
                    return Err(InputError::Missing { name, meaning });
                }
                None | Some(Json::Null) => {}
                Some(value) => {
                    let name = parameter.name;
                    let argument = parameter.shape.read(value);
                    let argument =
                        argument.map_err(|expected| InputError::Shape { name, expected })?;
                    arguments.insert(parameter.name, argument);
                }
            }
        }
        Ok(Accepted { arguments })
    }

    fn refuse_unknown(&self, members: &Map<String, Json>) -> Result<(), InputError> {
        let known = |name: &String| self.parameters.iter().any(|p| p.name == name);
        match members.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => {
                let names: Vec<&str> = self.parameters.iter().map(|p| p.name).collect();
                let shown: String = contract::effect::visible(name).chars().take(64).collect();
                Err(InputError::Unknown(shown, names.join(", ")))
            }
        }
    }
}

/// Places in their canonical form, sorted, each once; nothing where one is none, or is of no one
/// machine. An IPv4 address in IPv6's clothes is an IPv4 address (RFC 4291, 2.5.5.2).
fn read_places(places: &[Json]) -> Option<Vec<SocketAddr>> {
    let read = |place: &Json| {
        let place: SocketAddr = place.as_str()?.parse().ok()?;
        let address = place.ip().to_canonical();
        let one = match address {
            IpAddr::V4(v4) => !v4.is_broadcast() && v4.octets()[0] < 224,
            // a scope is a link of the box's, which is nobody's to name
            IpAddr::V6(_) => !matches!(place, SocketAddr::V6(v6) if v6.scope_id() != 0),
        };
        let usable = one && !address.is_unspecified() && !address.is_multicast();
        (usable && place.port() != 0).then(|| SocketAddr::new(address, place.port()))
    };
    let mut places: Vec<SocketAddr> = places.iter().map(read).collect::<Option<_>>()?;
    places.sort_unstable();
    places.dedup();
    (places.len() <= PLACES_MAX).then_some(places)
}

impl Shape {
    /// Reads a value, or says what would be taken.
    fn read(self, value: &Json) -> Result<Argument, String> {
        let plain = match (self, value) {
            (Self::Command, value) => {
                return Command::parse(value, PROGRAMS).map(Argument::Command);
            }
            (Self::OpenCommand, value) => {
                return Command::parse(value, OPEN).map(Argument::Command);
            }
            (Self::Url, Json::String(text)) => {
                let url = Url::parse(text).map_err(|error| error.to_string());
                return url.map(Argument::Url).map_err(|why| self.because(&why));
            }
            (Self::Host, Json::String(text)) => Host::parse(text).ok().map(Argument::Host),
            (Self::Headers, Json::Object(members)) => {
                return self.read_headers(members).map(Argument::Headers);
            }
            (Self::Digest, Json::String(text)) => {
                unhex_array::<32>(text).map(|_| Argument::Text(text.clone()))
            }
            (Self::Places, Json::Array(places)) => read_places(places).map(Argument::Places),
            (Self::Path, Json::String(text)) => CanonicalPath::parse(text).ok().map(Argument::Path),
            (Self::Text { bytes_max }, Json::String(text)) if text.len() <= bytes_max => {
                Some(Argument::Text(text.clone()))
            }
            (Self::OneOf(words), Json::String(text)) if words.contains(&text.as_str()) => {
                Some(Argument::Text(text.clone()))
            }
            (Self::Number { max }, Json::Number(number)) => {
                number.as_u64().filter(|number| *number <= max).map(Argument::Number)
            }
            (Self::Flag, Json::Bool(flag)) => Some(Argument::Flag(*flag)),
            (Self::Call, Json::String(text)) => unhex_array(text).map(Argument::Call),
            _ => None,
        };
        plain.ok_or_else(|| self.describe())
    }

    fn read_headers(self, members: &Map<String, Json>) -> Result<Headers, String> {
        let pairs = members.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let pairs: Vec<_> = pairs.collect::<Option<_>>().ok_or_else(|| self.describe())?;
        Headers::parse(pairs).map_err(|error| self.because(&error.to_string()))
    }

    fn because(self, why: &str) -> String {
        format!("{}: {why}", self.describe())
    }

    /// What the shape takes, in words.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Path => "a path of at most 4095 bytes that stays below the root".to_owned(),
            Self::Text { bytes_max } => format!("text of at most {bytes_max} bytes"),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Number { max } => format!("a whole number from 0 to {max}"),
            Self::Flag => "true or false".to_owned(),
            Self::Call => "a call's number, 32 hexadecimal digits in lower case".to_owned(),
            Self::Command => "a closed program and its arguments, an array".to_owned(),
            Self::OpenCommand => "an open program and its arguments, an array".to_owned(),
            Self::Places => format!(
                "at most {PLACES_MAX} texts `ADDRESS:PORT`, of one machine each: \"192.0.2.1:443\", \
                 \"[2001:db8::1]:443\""
            ),
            Self::Digest => "a SHA-256 digest, 64 hexadecimal digits in lower case".to_owned(),
            Self::Url => "a URL, https://HOST[:PORT]/PATH[?QUERY]".to_owned(),
            Self::Host => "a name in ASCII, or an address".to_owned(),
            Self::Headers => format!(
                "an object of at most {} headers and their values, texts",
                headers::HEADERS_MAX
            ),
        }
    }
}
