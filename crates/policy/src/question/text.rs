//! Which states of an automaton a value can end in that has its field's form, and the shortest such value: a
//! search over automaton, form and UTF-8 together, in the order of length.

use super::defect::{Defect, has};
use crate::compiled::automaton::{Automaton, START};
use crate::region::Segment;
use contract::limits::AGENT_NAME_BYTES_MAX;
use contract::path::{PATH_BYTES_MAX, SEGMENT_BYTES_MAX};

/// Longest host name (RFC 1035) and label of one, in bytes.
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// The form of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A canonical path.
    Path,
    /// Labels of `a` to `z`, digits, `-` and `_`, or an IPv4 address, which looks alike. An IPv6 address is the
    /// caller's business.
    Host,
    /// An agent's name.
    Agent,
    /// Any text.
    Any,
}

/// Where a text stands within its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    /// Which part of the form; a number for each form's own.
    pub(super) part: u8,
    /// Which part of a character, 0 between two.
    pub(super) unicode: u8,
    /// Bytes of this segment or label.
    pub(super) run: u16,
    /// Bytes of all.
    pub(super) total: u16,
}

/// Parts of a form at most, and of a character.
const PARTS: usize = 5;
const UNICODE: usize = 8;

/// A text that was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) state: u32,
    pub(super) spot: Spot,
    before: usize,
    byte: u8,
}

/// Everything that can be reached.
#[derive(Debug)]
pub(super) struct Search {
    form: Form,
    pub(super) nodes: Vec<Node>,
}

/// One more byte of UTF-8 (RFC 3629); 1 to 3 bytes of 80 to bf are to follow in the states of that number, 4 to 7
/// are behind e0, ed, f0 and f4.
const fn unicode(state: u8, byte: u8) -> Option<u8> {
    match (state, byte) {
        (0, 0..=0x7f) | (1, 0x80..=0xbf) => Some(0),
        (0, 0xc2..=0xdf) | (2, 0x80..=0xbf) | (4, 0xa0..=0xbf) | (5, 0x80..=0x9f) => Some(1),
        (0, 0xe1..=0xec | 0xee | 0xef) | (3, 0x80..=0xbf) | (6, 0x90..=0xbf) | (7, 0x80..=0x8f) => {
            Some(2)
        }
        (0, 0xf1..=0xf3) => Some(3),
        (0, 0xe0) => Some(4),
        (0, 0xed) => Some(5),
        (0, 0xf0) => Some(6),
        (0, 0xf4) => Some(7),
        _ => None,
    }
}

/// First bytes of the ranges that UTF-8 tells apart.
const RANGES: [(u8, u8); 13] = [
    (0x00, 0x7f),
    (0x80, 0x8f),
    (0x90, 0x9f),
    (0xa0, 0xbf),
    (0xc2, 0xdf),
    (0xe0, 0xe0),
    (0xe1, 0xec),
    (0xed, 0xed),
    (0xee, 0xef),
    (0xf0, 0xf0),
    (0xf1, 0xf3),
    (0xf4, 0xf4),
    (0xf5, 0xff),
];

impl Form {
    const START: Spot = Spot { part: 0, unicode: 0, run: 0, total: 0 };

    /// Where the text stands after one more byte.
    fn advance(self, at: Spot, byte: u8) -> Option<Spot> {
        let unicode = unicode(at.unicode, byte)?;
        let bound = |max: usize, length: u16| usize::from(length) <= max;
        let counted = |part: u8, ends: bool| {
            let run = if ends { 0 } else { at.run + 1 };
            Some(Spot { part, unicode, run, total: at.total + 1 })
        };
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match self {
            Self::Path => {
                let segment = SEGMENTS.get(usize::from(at.part))?.advance(byte)?;
                counted(segment_number(segment), byte == b'/').filter(|spot| {
                    bound(SEGMENT_BYTES_MAX, spot.run) && bound(PATH_BYTES_MAX, spot.total)
                })
            }
            Self::Host => {
                let part = match (at.part, byte) {
                    (1, b'.') => 0,
                    (_, byte) if is_name(byte) || byte == b'_' => 1,
                    _ => return None,
                };
                counted(part, byte == b'.').filter(|spot| {
                    bound(LABEL_BYTES_MAX, spot.run) && bound(HOST_BYTES_MAX, spot.total)
                })
            }
            Self::Agent => {
                let good = is_name(byte) && !(at.part == 0 && byte == b'-');
                let spot = Spot { part: 1, unicode, run: 0, total: at.total + 1 };
                (good && bound(AGENT_NAME_BYTES_MAX, spot.total)).then_some(spot)
            }
            Self::Any => Some(Spot { part: 0, unicode, run: 0, total: 0 }),
        }
    }

    /// Whether a text may end there.
    fn ends(self, at: Spot) -> bool {
        let whole = at.unicode == 0;
        if has(Defect::Form) {
            return whole;
        }
        match self {
            Self::Path => {
                // the root is the one path that ends with a slash
                let segment = SEGMENTS.get(usize::from(at.part));
                let root = at.total == 1 && segment == Some(&Segment::Empty);
                whole && (root || segment == Some(&Segment::Name))
            }
            Self::Host | Self::Agent => at.part == 1,
            Self::Any => whole,
        }
    }
}

const SEGMENTS: [Segment; PARTS] =
    [Segment::Root, Segment::Empty, Segment::Dot, Segment::DotDot, Segment::Name];

const fn segment_number(segment: Segment) -> u8 {
    match segment {
        Segment::Root => 0,
        Segment::Empty => 1,
        Segment::Dot => 2,
        Segment::DotDot => 3,
        Segment::Name => 4,
    }
}

/// Every byte that a pattern or a form names, and of each range of UTF-8 one that neither does; those that read
/// well come first.
fn alphabet(automaton: &Automaton) -> Vec<u8> {
    let is_named = |byte: u8| {
        matches!(byte, 0 | b'/' | b'.' | b'-' | b'_')
            || automaton.bytes().get(1..).is_some_and(|named| named.contains(&byte))
    };
    let letters = |byte: &u8| {
        let first = if byte.is_ascii_lowercase() {
            0
        } else if byte.is_ascii_alphanumeric() {
            1
        } else if byte.is_ascii_graphic() {
            2
        } else {
            3
        };
        (first, *byte)
    };
    let mut bytes: Vec<u8> = (0..=255).filter(|byte| is_named(*byte)).collect();
    for (low, high) in RANGES {
        bytes.extend((low..=high).filter(|byte| !is_named(*byte)).min_by_key(letters));
    }
    // a form may admit letters alone, or digits
    bytes.extend((b'a'..=b'z').chain(b'0'..=b'9').find(|byte| !is_named(*byte)));
    bytes.sort_unstable_by_key(letters);
    bytes.dedup();
    bytes
}

impl Search {
    /// From the beginning, until `enough` says so of a state that a text ends in.
    pub(super) fn new(
        automaton: &Automaton,
        form: Form,
        mut enough: impl FnMut(u32) -> bool,
    ) -> Self {
        let alphabet = alphabet(automaton);
        let states = automaton.matching().len();
        // the shortest run that each place was reached with, and one; texts come in the order of their length
        let mut best = vec![0_u16; states * PARTS * UNICODE];
        let start = Node { state: START, spot: Form::START, before: 0, byte: 0 };
        let mut search = Self { form, nodes: vec![start] };
        let mut at = 0;
        while let Some(node) = search.nodes.get(at).copied() {
            if form.ends(node.spot) && enough(node.state) {
                break;
            }
            for byte in &alphabet {
                let Some(spot) = form.advance(node.spot, *byte) else { continue };
                let state = automaton.step(node.state, *byte);
                let place = usize::try_from(state).unwrap_or(usize::MAX).saturating_mul(PARTS);
                let place = (place + usize::from(spot.part)) * UNICODE + usize::from(spot.unicode);
                let Some(best) = best.get_mut(place) else { continue };
                if *best == 0 || spot.run + 1 < *best {
                    *best = spot.run + 1;
                    search.nodes.push(Node { state, spot, before: at, byte: *byte });
                }
            }
            at += 1;
        }
        search
    }

    /// The states that texts end in, the shortest text first.
    pub(super) fn ends(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| self.form.ends(node.spot))
    }

    /// The text of a node.
    pub(super) fn text(&self, mut at: usize) -> String {
        let mut bytes = Vec::new();
        while let Some(node) = self.nodes.get(at).filter(|_| at > 0) {
            bytes.push(node.byte);
            at = node.before;
        }
        bytes.reverse();
        // a text ends between two characters, so that nothing is lost
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
