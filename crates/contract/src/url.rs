//! Hosts and URLs as policy, people and the wire mean them: one spelling each. What has two meanings anywhere (a
//! numeric host that is no address, an encoded slash, a user before the host) is refused, not read one way (RFC 3986;
//! RFC 9110, 4.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name (RFC 1035, 2.3.4, less the root).
pub const NAME_BYTES_MAX: usize = 253;
/// Longest label of a name.
pub const LABEL_BYTES_MAX: usize = 63;
/// Longest URL.
pub const URL_BYTES_MAX: usize = 4_096;

/// A machine: a name in lower-case A-labels, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name.
    Name(String),
    /// An address; an IPv4 one in IPv6's clothes is an IPv4 address (RFC 4291, 2.5.5.2).
    Address(IpAddr),
}

/// An absolute URL of HTTP, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is of `https`.
    pub tls: bool,
    /// Where.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
    /// The path and, after a `?`, the query: what the request line holds (RFC 9112, 3.2.1).
    pub target: String,
}

/// Why text is no host or URL, and what would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Too long.
    #[error("longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    /// Neither scheme.
    #[error("it begins with neither `https://` nor `http://`")]
    Scheme,
    /// A user or password.
    #[error("a user or password before the host; use a header, and a secret in it")]
    User,
    /// No host of one meaning.
    #[error(
        "the host is neither a name in ASCII (write other letters as xn-- labels) nor an address (192.0.2.1, [2001:db8::1])"
    )]
    Host,
    /// No port.
    #[error("the port is no number from 1 to 65535")]
    Port,
    /// A character that no URL has, or a `%` without two hexadecimal digits.
    #[error("the path or query holds a character that must be written as % and two digits")]
    Character,
    /// A segment that servers read in more than one way.
    #[error("the path holds `.`, `..`, an empty segment, or an encoded `/`, `\\` or NUL")]
    Segment,
    /// What no server is sent.
    #[error("a fragment (`#`) is never sent; leave it out")]
    Fragment,
}

impl Host {
    /// Reads a name or an address, the latter of IPv6 with or without brackets.
    ///
    /// # Errors
    /// [`UrlError::Host`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(v6) = bare.or_else(|| text.contains(':').then_some(text)) {
            let address: Ipv6Addr = v6.parse().map_err(|_no| UrlError::Host)?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        let name = text.to_ascii_lowercase();
        let labels: Vec<&str> = name.split('.').collect();
        // a name whose last label is a number is an address to some readers, in several forms
        let numeric = labels.last().is_some_and(|last| is_numeric(last));
        if numeric {
            let address: Ipv4Addr = text.parse().map_err(|_no| UrlError::Host)?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let whole = name.len() <= NAME_BYTES_MAX && labels.iter().all(|label| is_label(label));
        if whole { Ok(Self::Name(name)) } else { Err(UrlError::Host) }
    }

    /// The address, if it is one.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::Address(address) => Some(*address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// Whether inet_aton(3) would take it for the last part of an address.
fn is_numeric(label: &str) -> bool {
    let hex = label.strip_prefix("0x").is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || (!label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()))
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(inner)
}

impl Url {
    /// Brings a URL into its canonical form: the host in lower case, the port written out, unreserved characters not
    /// encoded, hexadecimal digits in upper case (RFC 3986, 6.2.2).
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(UrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end).ok_or(UrlError::Host)?;
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let (host, port) = place(authority, if tls { 443 } else { 80 })?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut canonical = path_of(path)?;
        if let Some(query) = query {
            canonical.push('?');
            canonical.push_str(&encoded(query, b"/?")?);
        }
        Ok(Self { tls, host, port, target: canonical })
    }

    /// The host and, where it is not the scheme's own, the port: what the header `host` holds (RFC 9110, 7.2).
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            other => other.to_string(),
        };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

fn place(authority: &str, usual: u16) -> Result<(Host, u16), UrlError> {
    // a colon within brackets is the address's
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    let colon = authority.get(after..).and_then(|rest| rest.find(':')).map(|at| at + after);
    let Some((host, port)) = colon.and_then(|at| authority.split_at_checked(at)) else {
        return Ok((Host::parse(authority)?, usual));
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let number = digits.parse().ok().filter(|port| *port != 0 && plain).ok_or(UrlError::Port)?;
    Ok((Host::parse(host)?, number))
}

fn path_of(path: &str) -> Result<String, UrlError> {
    if path.is_empty() {
        return Ok("/".to_owned());
    }
    let path = encoded(path, b"/")?;
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    for (at, segment) in segments.iter().enumerate() {
        let empty = segment.is_empty() && at != last;
        let ambiguous = ["%2F", "%5C", "%00"].iter().any(|code| segment.contains(code));
        if empty || ambiguous || matches!(*segment, "." | "..") {
            return Err(UrlError::Segment);
        }
    }
    Ok(path)
}

/// The text with what must not be encoded written plainly, and all else as it stands; `also` may stand in it besides
/// `pchar` (RFC 3986, 3.3).
fn encoded(text: &str, also: &[u8]) -> Result<String, UrlError> {
    let mut canonical = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(bytes.next()), digit(bytes.next()));
            let code = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            let code = code.ok_or(UrlError::Character)?;
            if is_unreserved(code) {
                canonical.push(char::from(code));
            } else {
                canonical.push_str(&format!("%{code:02X}"));
            }
        } else if is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte) || also.contains(&byte) {
            canonical.push(char::from(byte));
        } else {
            return Err(UrlError::Character);
        }
    }
    Ok(canonical)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        let url = Url::parse(text).unwrap();
        format!("{} {} {}", url.authority(), url.port, url.target)
    }

    #[test]
    fn a_url_has_one_spelling() {
        for (text, canonical) in [
            ("https://api.example.org", "api.example.org 443 /"),
            ("https://API.Example.ORG:443/v1", "api.example.org 443 /v1"),
            ("https://a.example:8443/%7euser/a%2bb/", "a.example:8443 8443 /~user/a%2Bb/"),
            ("http://a.example?x=/../%41", "a.example 80 /?x=/../A"),
            ("https://192.0.2.1/", "192.0.2.1 443 /"),
            ("https://[2001:DB8:0::1]:8443/", "[2001:db8::1]:8443 8443 /"),
            ("https://[::ffff:192.0.2.1]/", "192.0.2.1 443 /"),
            ("https://1password.example/", "1password.example 443 /"),
        ] {
            assert_eq!(url(text), canonical);
            let again = Url::parse(text).unwrap();
            let written = format!(
                "http{}://{}{}",
                if again.tls { "s" } else { "" },
                again.authority(),
                again.target
            );
            assert_eq!(Url::parse(&written).unwrap(), again, "its canonical form is its own");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        use UrlError as E;
        for (text, why) in [
            ("ftp://a.example/", E::Scheme),
            ("//a.example/", E::Scheme),
            ("HTTPS://a.example/", E::Scheme),
            ("https://user@a.example/", E::User),
            ("https://a.example@b.example/", E::User),
            ("https://a.example/#b", E::Fragment),
            ("https://a.example/..", E::Segment),
            ("https://a.example/b/%2e%2E/c", E::Segment),
            ("https://a.example/b//c", E::Segment),
            ("https://a.example/b%2fc", E::Segment),
            ("https://a.example/b%5cc", E::Segment),
            ("https://a.example/%00", E::Segment),
            ("https://a.example/b\\c", E::Character),
            ("https://a.example/b c", E::Character),
            ("https://a.example/\r\nx: y", E::Character),
            ("https://a.example/%4", E::Character),
            ("https://a.example/ü", E::Character),
            ("https://a.example:0/", E::Port),
            ("https://a.example:65536/", E::Port),
            ("https://a.example:/", E::Port),
            ("https://a.example:080/", E::Port),
            ("https://", E::Host),
            ("https:///a", E::Host),
            ("https://a.example./", E::Host),
            ("https://a..example/", E::Host),
            ("https://bücher.example/", E::Host),
            ("https://-a.example/", E::Host),
            ("https://2130706433/", E::Host),
            ("https://0x7f000001/", E::Host),
            ("https://127.1/", E::Host),
            ("https://0177.0.0.1/", E::Host),
            ("https://127.0.0.1.0x1/", E::Host),
            ("https://2001:db8::1/", E::Port),
            ("https://[fe80::1%25eth0]/", E::Host),
            ("https://[fe80::1%eth0]/", E::Host),
            ("https://a.example\\@b.example/", E::User),
            ("https://a.example%2eb/", E::Host),
        ] {
            assert_eq!(Url::parse(text).unwrap_err(), why, "{text}");
        }
        assert_eq!(Url::parse(&format!("https://{}/", "a".repeat(5_000))), Err(E::TooLong));
        assert_eq!(Host::parse(&format!("{}.example", "a".repeat(64))), Err(E::Host));
    }
}
