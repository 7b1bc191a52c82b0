//! Headers of a request that an agent makes, and the placeholders of secrets in them. A placeholder, `${secret:NAME}`,
//! is legal in their values and nowhere else.

/// Most headers.
pub const HEADERS_MAX: usize = 32;
/// Longest name, and longest value, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// See [`NAME_BYTES_MAX`].
pub const VALUE_BYTES_MAX: usize = 8_192;
/// Most placeholders of one call.
pub const SECRETS_MAX: usize = 4;
/// Longest name of a secret, in bytes.
pub const SECRET_NAME_BYTES_MAX: usize = 64;

const OPEN: &str = "${secret:";

/// What egress itself says of the connection and the message (RFC 9110, 7.6.1; RFC 9112): one who could say it too could
/// end a message where egress does not.
const OWN: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// What servers write down or hand on.
const SINKS: &[&str] = &["forwarded", "from", "origin", "referer", "user-agent"];

/// Headers, sorted by their names in lower case; each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    headers: Vec<(String, String)>,
    secrets: Vec<String>,
}

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// As it stands.
    Text(&'a str),
    /// The secret of this name.
    Secret(&'a str),
}

/// Why these are no headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadersError {
    /// Too many or too long.
    #[error("at most {HEADERS_MAX} headers, of {NAME_BYTES_MAX} and {VALUE_BYTES_MAX} bytes")]
    TooLong,
    /// No name.
    #[error("a header's name is letters, digits and !#$%&'*+-.^_`|~")]
    Name,
    /// A control character, or one beyond ASCII.
    #[error("a header's value is printable ASCII, tabs and blanks within")]
    Value,
    /// The same name twice.
    #[error("a header is given twice")]
    Twice,
    /// One that egress writes.
    #[error("the box writes the headers of the connection and of the message's length itself")]
    Own,
    /// A placeholder that is none, too many, or one twice.
    #[error(
        "a placeholder is ${{secret:NAME}}, NAME of lower-case letters, digits, `-` and `_`; at most {SECRETS_MAX}, each once"
    )]
    Placeholder,
    /// A placeholder in a header that servers write down or hand on.
    #[error("no secret in this header: servers write it down or hand it on")]
    Sink,
}

impl Headers {
    /// Reads headers.
    ///
    /// # Errors
    /// [`HeadersError`].
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, HeadersError> {
        let (mut headers, mut secrets) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            let name = name.to_ascii_lowercase();
            check(&name, value)?;
            for part in parts(value)? {
                let Part::Secret(secret) = part else { continue };
                if SINKS.contains(&name.as_str()) || name.starts_with("x-forwarded-") {
                    return Err(HeadersError::Sink);
                }
                secrets.push(secret.to_owned());
            }
            headers.push((name, value.to_owned()));
        }
        headers.sort();
        secrets.sort();
        let twice = headers.iter().zip(headers.iter().skip(1)).any(|(one, next)| one.0 == next.0);
        if twice {
            return Err(HeadersError::Twice);
        }
        let again = secrets.iter().zip(secrets.iter().skip(1)).any(|(one, next)| one == next);
        if again || secrets.len() > SECRETS_MAX {
            return Err(HeadersError::Placeholder);
        }
        if headers.len() > HEADERS_MAX {
            return Err(HeadersError::TooLong);
        }
        Ok(Self { headers, secrets })
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The secrets that the values name, sorted.
    #[must_use]
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }
}

fn check(name: &str, value: &str) -> Result<(), HeadersError> {
    if name.len() > NAME_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return Err(HeadersError::TooLong);
    }
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(HeadersError::Name);
    }
    if OWN.contains(&name) {
        return Err(HeadersError::Own);
    }
    let printable = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
    if !value.bytes().all(printable) || value.trim_matches([' ', '\t']) != value {
        return Err(HeadersError::Value);
    }
    Ok(())
}

/// Whether text could be meant to hold a placeholder.
#[must_use]
pub fn holds_placeholder(text: &str) -> bool {
    text.contains(OPEN)
}

/// Whether this can be the name of a secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    !name.is_empty() && name.len() <= SECRET_NAME_BYTES_MAX && name.bytes().all(plain)
}

/// The parts of a value.
///
/// # Errors
/// [`HeadersError::Placeholder`].
pub fn parts(value: &str) -> Result<Vec<Part<'_>>, HeadersError> {
    let (mut parts, mut rest) = (Vec::new(), value);
    while let Some((before, after)) = rest.split_once(OPEN) {
        let (name, behind) = after.split_once('}').ok_or(HeadersError::Placeholder)?;
        if !is_secret_name(name) {
            return Err(HeadersError::Placeholder);
        }
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(Part::Secret(name));
        rest = behind;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_found_where_it_may_be_and_refused_elsewhere() {
        let one =
            Headers::parse([("Authorization", "Bearer ${secret:a-1}"), ("X-B", "b")]).unwrap();
        assert_eq!(one.secrets(), ["a-1"]);
        assert_eq!(one.iter().next(), Some(("authorization", "Bearer ${secret:a-1}")));
        let wanted =
            vec![Part::Text("x="), Part::Secret("a"), Part::Text(";y="), Part::Secret("b")];
        assert_eq!(parts("x=${secret:a};y=${secret:b}"), Ok(wanted));
        use HeadersError as E;
        for (name, value, why) in [
            ("referer", "${secret:a}", E::Sink),
            ("X-Forwarded-For", "${secret:a}", E::Sink),
            ("x-a", "${secret:a", E::Placeholder),
            ("x-a", "${secret:}", E::Placeholder),
            ("x-a", "${secret:A}", E::Placeholder),
            ("x-a", "${secret:a}${secret:a}", E::Placeholder),
            ("x-a", "${secret:a}${secret:b}${secret:c}${secret:d}${secret:e}", E::Placeholder),
            ("Host", "b.example", E::Own),
            ("Transfer-Encoding", "chunked", E::Own),
            ("content-length", "0", E::Own),
            ("x a", "b", E::Name),
            ("", "b", E::Name),
            ("x-a:", "b", E::Name),
            ("x-a", "b\r\nhost: c", E::Value),
            ("x-a", "b\u{0}", E::Value),
            ("x-a", " b", E::Value),
            ("x-a", "ü", E::Value),
        ] {
            assert_eq!(Headers::parse([(name, value)]), Err(why), "{name}: {value}");
        }
        assert_eq!(Headers::parse([("a", "1"), ("A", "2")]), Err(E::Twice));
        let many: Vec<String> = (0..33).map(|n| format!("x-{n}")).collect();
        let many = many.iter().map(|name| (name.as_str(), ""));
        assert_eq!(Headers::parse(many), Err(E::TooLong));
    }
}
