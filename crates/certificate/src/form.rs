//! The forms of text: which bytes may come where, and where a text may end.

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `/`, or segments of 1 to 255 bytes that are not `.` or `..`, each behind a slash; 4,095 bytes at most.
    Path,
    /// Labels of 1 to 63 of `a` to `z`, digits, `-`, `_`, with dots between; 253 bytes at most.
    Host,
    /// 1 to 32 of `a` to `z`, digits and `-`, which does not come first.
    Agent,
    /// Any UTF-8.
    Any,
}

/// Where a text stands: part of the form, part of a character, bytes of the segment or label, bytes of all.
pub(crate) type Spot = (u8, u8, u16, u16);

/// Before any byte.
pub(crate) const START: Spot = (0, 0, 0, 0);

/// Parts of a path.
const ROOT: u8 = 0;
const SLASH: u8 = 1;
const DOT: u8 = 2;
const DOTS: u8 = 3;
const NAME: u8 = 4;

/// UTF-8 as RFC 3629 writes it: what is still to come of a character.
const fn unicode(at: u8, byte: u8) -> Option<u8> {
    Some(match (at, byte) {
        (0, 0..=0x7f) => 0,
        (0, 0xc2..=0xdf) => 1,
        (0, 0xe0) => 4,
        (0, 0xe1..=0xec) | (0, 0xee..=0xef) => 2,
        (0, 0xed) => 5,
        (0, 0xf0) => 6,
        (0, 0xf1..=0xf3) => 3,
        (0, 0xf4) => 7,
        (1, 0x80..=0xbf) => 0,
        (2, 0x80..=0xbf) | (4, 0xa0..=0xbf) | (5, 0x80..=0x9f) => 1,
        (3, 0x80..=0xbf) | (6, 0x90..=0xbf) | (7, 0x80..=0x8f) => 2,
        _ => return None,
    })
}

const fn is_word(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

impl Form {
    /// After one more byte, if it may come.
    pub(crate) fn step(self, (part, character, run, total): Spot, byte: u8) -> Option<Spot> {
        let character = unicode(character, byte)?;
        let (run, total) = (run.checked_add(1)?, total.checked_add(1)?);
        match self {
            Self::Path => {
                let part = match (part, byte) {
                    (_, 0) => return None,
                    (ROOT | NAME, b'/') => SLASH,
                    (ROOT, _) | (_, b'/') => return None,
                    (SLASH, b'.') => DOT,
                    (DOT, b'.') => DOTS,
                    _ => NAME,
                };
                let run = if part == SLASH { 0 } else { run };
                (run <= 255 && total <= 4_095).then_some((part, character, run, total))
            }
            Self::Host => {
                let (part, run) = match (part, byte) {
                    (1, b'.') => (0, 0),
                    _ if is_word(byte) || byte == b'_' => (1, run),
                    _ => return None,
                };
                (run <= 63 && total <= 253).then_some((part, character, run, total))
            }
            Self::Agent => {
                let good = is_word(byte) && (part, byte) != (0, b'-') && total <= 32;
                good.then_some((1, character, 0, total))
            }
            Self::Any => Some((0, character, 0, 0)),
        }
    }

    /// Whether a text may end there.
    pub(crate) const fn ends(self, (part, character, _, total): Spot) -> bool {
        character == 0
            && match self {
                Self::Path => part == NAME || (part == SLASH && total == 1),
                Self::Host | Self::Agent => part == 1,
                Self::Any => true,
            }
    }
}
