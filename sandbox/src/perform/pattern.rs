//! What a search looks for: a pattern of names, and a text. Both are matched in time that grows with what
//! is looked at alone, whatever the pattern is.

use super::Answer;

/// A pattern of at most 127 steps: where it may stand is one bit each.
pub(super) struct Pattern {
    /// For each byte, the steps that take it.
    takes: Box<[u128; 256]>,
    /// The steps that take any number of bytes.
    stars: u128,
    end: u128,
    /// Whether it is of a whole path rather than of a name.
    of_path: bool,
}

impl Pattern {
    /// `*` is any bytes but a slash, `**` any.
    pub(super) fn read(text: &str, ignore_case: bool) -> Answer<Self> {
        let mut takes = Box::new([0_u128; 256]);
        let (mut stars, mut step) = (0_u128, 1_u128);
        let mut bytes = text.bytes().peekable();
        if text.is_empty() {
            return Err("bad_pattern");
        }
        while let Some(byte) = bytes.next() {
            let star = byte == b'*';
            let crosses = star && bytes.next_if_eq(&b'*').is_some();
            for (other, takes) in (0_u8..=255).zip(takes.iter_mut()) {
                let same = other == byte || ignore_case && other.eq_ignore_ascii_case(&byte);
                if if star { crosses || other != b'/' } else { same } {
                    *takes |= step;
                }
            }
            if star {
                stars |= step;
            }
            // no step is left for the end
            step = step.checked_mul(2).ok_or("bad_pattern")?;
        }
        Ok(Self { takes, stars, end: step, of_path: text.contains('/') })
    }

    /// Whether the last name of a path, or the path where the pattern is of one, is what it says.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let text = if self.of_path { path } else { name };
        let mut at = self.closed(1);
        for byte in text {
            let takes = self.takes.get(usize::from(*byte)).copied().unwrap_or_default();
            let taken = at & takes;
            at = self.closed((taken & self.stars) | ((taken & !self.stars) << 1));
            if at == 0 {
                return false;
            }
        }
        at & self.end != 0
    }

    /// A star may stand for nothing, and so may those behind it.
    fn closed(&self, mut at: u128) -> u128 {
        loop {
            let more = at | ((at & self.stars) << 1);
            if more == at {
                return at;
            }
            at = more;
        }
    }
}

/// A text that is searched for as it is (Knuth, Morris and Pratt).
pub(super) struct Text {
    bytes: Vec<u8>,
    /// For each length that matches, the next shorter one that does.
    shorter: Vec<usize>,
    ignore_case: bool,
}

impl Text {
    pub(super) fn new(text: &str, ignore_case: bool) -> Answer<Self> {
        let mut bytes = text.as_bytes().to_vec();
        if ignore_case {
            bytes.make_ascii_lowercase();
        }
        if bytes.is_empty() {
            return Err("bad_pattern");
        }
        let mut new = Self { shorter: vec![0], bytes: Vec::new(), ignore_case };
        let mut length = 0;
        for (at, byte) in bytes.iter().enumerate() {
            new.bytes.push(*byte);
            if at > 0 {
                length = new.step(length, *byte);
                new.shorter.push(length);
            }
        }
        Ok(new)
    }

    /// How much of the text matches after one more byte, where `length` did before.
    fn step(&self, mut length: usize, byte: u8) -> usize {
        let byte = if self.ignore_case { byte.to_ascii_lowercase() } else { byte };
        loop {
            if self.bytes.get(length) == Some(&byte) {
                return length + 1;
            }
            match length.checked_sub(1).and_then(|before| self.shorter.get(before)) {
                None => return 0,
                Some(shorter) => length = *shorter,
            }
        }
    }

    /// Where it begins first in some bytes.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        let mut length = 0;
        for (at, byte) in bytes.iter().enumerate() {
            length = self.step(length, *byte);
            if length == self.bytes.len() {
                return (at + 1).checked_sub(length);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by trying everything.
    fn plain(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=text.len()).any(|at| plain(rest, &text[at..])),
            [b'*', rest @ ..] => {
                let most = text.iter().position(|byte| *byte == b'/').unwrap_or(text.len());
                (0..=most).any(|at| plain(rest, &text[at..]))
            }
            [byte, rest @ ..] => text.first() == Some(byte) && plain(rest, &text[1..]),
        }
    }

    #[test]
    fn a_pattern_is_of_the_name_or_of_the_path() {
        let check = |pattern: &str, path: &str| {
            Pattern::read(pattern, false).unwrap().matches(path.as_bytes())
        };
        assert!(check("*.rs", "a/b.rs") && check("**.rs", "a/b.rs") && check("b*", "a/b.rs"));
        assert!(!check("*.rs", "a/b.rsx") && !check("a*", "a/b.rs"));
        assert!(check("a/*.rs", "a/b.rs") && !check("a/*.rs", "a/c/b.rs"));
        assert!(check("a/**.rs", "a/c/b.rs") && check("**/b.rs", "a/c/b.rs"));
        assert!(Pattern::read("A*", true).unwrap().matches(b"abc"));
        assert!(!Pattern::read("A*", false).unwrap().matches(b"abc"));
        assert!(Pattern::read("", false).is_err());
        let longest = "a".repeat(capabilities::filesystem::regions::NAME_BYTES_MAX);
        assert!(check(&longest, &longest));
        assert!(Pattern::read(&format!("{longest}a"), false).is_err());
    }

    #[test]
    fn a_text_is_found_where_it_begins_first() {
        let find = |text: &str, bytes: &[u8]| Text::new(text, false).unwrap().find(bytes);
        assert_eq!(find("aab", b"aaab"), Some(1));
        assert_eq!(find("abab", b"abacabab"), Some(4));
        assert_eq!(find("x", b"\xff\x00x"), Some(2));
        assert_eq!(find("x", b""), None);
        assert_eq!(Text::new("AbC", true).unwrap().find(b"xxaBc"), Some(2));
        assert!(Text::new("", false).is_err());
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_trying_everything_does(
            pattern in "[ab/*]{1,8}", text in "[ab/]{0,8}",
        ) {
            let read = Pattern::read(&pattern, false).unwrap();
            let name = text.rsplit('/').next().unwrap_or_default();
            let of = if pattern.contains('/') { text.as_str() } else { name };
            let wanted = plain(pattern.as_bytes(), of.as_bytes());
            prop_assert_eq!(read.matches(text.as_bytes()), wanted, "{} {}", pattern, text);
        }

        #[test]
        fn a_text_is_found_where_the_library_finds_it(text in "[ab]{1,4}", bytes in "[ab]{0,24}") {
            prop_assert_eq!(Text::new(&text, false).unwrap().find(bytes.as_bytes()), bytes.find(&text));
        }
    }
}
