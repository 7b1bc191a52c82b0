//! What a reply must not show: the values that its call was lent, in the forms that servers give them back in. This
//! finds what is found; what protects a secret is where it is bound to (docs/threats.md).

use aho_corasick::AhoCorasick;
use contract::base64;
use contract::digits::hex;

/// The forms of some values, to be looked for in what came back.
pub(crate) struct Hidden(Option<AhoCorasick>);

impl Hidden {
    /// The forms of these values; an error when they cannot be looked for.
    pub(crate) fn new<'a>(
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, &'static str> {
        let mut forms: Vec<Vec<u8>> = values.into_iter().flat_map(forms).collect();
        forms.retain(|form| !form.is_empty());
        forms.sort();
        forms.dedup();
        if forms.is_empty() {
            return Ok(Self(None));
        }
        let built = AhoCorasick::new(&forms).map_err(|_too_many| "secret_refused")?;
        Ok(Self(Some(built)))
    }

    /// Whether anything is looked for.
    pub(crate) const fn is_asked(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a form stands in this.
    pub(crate) fn stands_in(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|forms| forms.is_match(text))
    }
}

/// A value as it is, in hexadecimal, in base64 wherever it begins in what was encoded, with `%` and in JSON.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let digits = hex(value);
    let mut forms = vec![
        value.to_vec(),
        digits.to_ascii_uppercase().into_bytes(),
        digits.into_bytes(),
        percent(value, false, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
        percent(value, true, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
        // a space as a form has it, and sub-delimiters plain as a path may have them
        percent(value, false, |byte| {
            byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
        }),
        json(value, false),
        json(value, true),
    ];
    for offset in 0..3 {
        let inner = within_base64(value, offset);
        forms.push(inner.replace('+', "-").replace('/', "_").into_bytes());
        forms.push(inner.into_bytes());
    }
    forms
}

/// The digits of base64 that depend on the value alone, where it begins so many bytes after a group's first.
fn within_base64(value: &[u8], offset: usize) -> String {
    let encoded = base64::write(&[&vec![0; offset], value].concat());
    let first = (offset * 8).div_ceil(6);
    let bits = (offset + value.len()) * 8;
    encoded.get(first..bits / 6).unwrap_or_default().to_owned()
}

fn percent(value: &[u8], lower: bool, plain: impl Fn(u8) -> bool) -> Vec<u8> {
    let encode = |byte: &u8| match (plain(*byte), lower) {
        (true, _) => vec![*byte],
        (false, true) => format!("%{byte:02x}").into_bytes(),
        (false, false) => format!("%{byte:02X}").into_bytes(),
    };
    value.iter().flat_map(encode).collect()
}

/// As a JSON text's inside, with slashes plain or escaped.
fn json(value: &[u8], slashes: bool) -> Vec<u8> {
    let text = serde_json::Value::from(String::from_utf8_lossy(value).into_owned()).to_string();
    let inner = text.trim_start_matches('"');
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    if slashes { inner.replace('/', "\\/").into_bytes() } else { inner.as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALUE: &[u8] = b"s3cr3t/+ value\"1";

    #[test]
    fn the_forms_that_servers_echo_are_found_and_the_rest_is_not() {
        let hidden = Hidden::new([VALUE]).unwrap();
        for shown in [
            "x s3cr3t/+ value\"1 y",
            r#"{"a":"s3cr3t/+ value\"1"}"#,
            r#"{"a":"s3cr3t\/+ value\"1"}"#,
            "a=s3cr3t%2F%2B%20value%221",
            "a=s3cr3t%2f%2b%20value%221",
            "/s3cr3t/+%20value%221",
            "733363723374 2f2b2076616c75652231".replace(' ', "").as_str(),
            "7333637233742F2B2076616C75652231",
        ] {
            assert!(hidden.stands_in(shown.as_bytes()), "{shown}");
        }
        for plain in ["", "s3cr3t", "s3cr3t/+ value", "S3CR3T/+ VALUE\"1"] {
            assert!(!hidden.stands_in(plain.as_bytes()), "{plain}");
        }
        assert!(!Hidden::new([b"".as_slice()]).unwrap().is_asked());
    }

    proptest! {
        #[test]
        fn base64_is_found_wherever_it_begins(
            before in proptest::collection::vec(any::<u8>(), 0..7),
            value in proptest::collection::vec(any::<u8>(), 8..40),
            after in proptest::collection::vec(any::<u8>(), 0..7),
        ) {
            let hidden = Hidden::new([value.as_slice()]).unwrap();
            let encoded = base64::write(&[before, value, after].concat());
            prop_assert!(hidden.stands_in(encoded.as_bytes()), "{}", encoded);
            let other = encoded.replace('+', "-").replace('/', "_");
            prop_assert!(hidden.stands_in(other.as_bytes()));
        }
    }
}
