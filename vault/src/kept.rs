//! What a vault leaves for the next one of this boot: its keys and how often each secret was lent, in memory that init
//! hands on as a descriptor. It lies in one of two places, with a digest, so that a vault that is killed while it
//! writes leaves what was there before.

use contract::bytes::Bytes;
use contract::cbor;
use linux::memory::{self, Shared};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use zeroize::{Zeroize, Zeroizing};

/// Two places of this length: the keys, and a line for each of 1,024 secrets.
const PLACE_BYTES: usize = 128 << 10;
const BYTES: usize = 2 * PLACE_BYTES;
/// A place begins with its number, the length of what follows, and the digest of both and that.
const NUMBER: usize = 8;
const LENGTH: usize = 8;
const DIGEST: usize = 32;
const HEAD: usize = NUMBER + LENGTH + DIGEST;

/// What is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Left {
    /// As [`crate::keys::Keys::text`] has them; none of a vault that is locked.
    pub(crate) keys: Option<Bytes>,
    /// How often each secret was lent within the last hour, and in which minute of boot time last. All count as of that
    /// minute: rather too long than too short.
    pub(crate) uses: BTreeMap<String, (u32, u64)>,
}

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.0.zeroize();
        }
    }
}

/// The memory; nothing is left without it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    memory: Option<Shared>,
    number: u64,
}

/// A new file for it.
///
/// # Errors
/// Why the kernel has no such memory.
pub(crate) fn make() -> Result<OwnedFd, String> {
    memory::secret(BYTES).map_err(|error| error.to_string())
}

impl Kept {
    /// What lies in a file.
    ///
    /// # Errors
    /// Why it cannot be mapped.
    pub(crate) fn of(file: impl AsFd) -> Result<Self, String> {
        let memory = Shared::map(file, BYTES).map_err(|error| error.to_string())?;
        Ok(Self { memory: Some(memory), number: 0 })
    }

    /// What an earlier vault left, the newest that is whole.
    pub(crate) fn left(&mut self) -> Option<Left> {
        let all = Zeroizing::new(self.memory.as_ref()?.read());
        let places = all.chunks(PLACE_BYTES).filter_map(read);
        let (number, left) = places.max_by_key(|(number, _)| *number)?;
        self.number = number;
        Some(left)
    }

    /// Leaves this, and nothing of before. Whether it is left: otherwise nothing is.
    pub(crate) fn leave(&mut self, left: &Left) -> bool {
        let number = self.number.wrapping_add(1);
        let written = cbor::encode(left).ok().map(Zeroizing::new).is_some_and(|content| {
            let place = Zeroizing::new(written(number, &content));
            place.len() <= PLACE_BYTES && self.write(number, &place)
        });
        if written {
            self.number = number;
            self.write(number.wrapping_add(1), &Zeroizing::new(vec![0; PLACE_BYTES]))
        } else {
            self.wipe();
            false
        }
    }

    /// Leaves nothing.
    fn wipe(&mut self) {
        if let Some(memory) = &mut self.memory {
            // the length is the mapping's
            let _fits = memory.write(0, &[0; BYTES]);
        }
    }

    /// Writes into the place that a number has.
    fn write(&mut self, number: u64, bytes: &[u8]) -> bool {
        let at = if number.is_multiple_of(2) { 0 } else { PLACE_BYTES };
        self.memory.as_mut().is_some_and(|memory| memory.write(at, bytes))
    }
}

fn digest(number: &[u8], length: &[u8], content: &[u8]) -> [u8; DIGEST] {
    let mut digest = Sha256::new();
    [number, length, content].into_iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

fn written(number: u64, content: &[u8]) -> Vec<u8> {
    let number = number.to_be_bytes();
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX).to_be_bytes();
    [&number, &length, digest(&number, &length, content).as_slice(), content].concat()
}

/// A place's number and content, if it is whole.
fn read(place: &[u8]) -> Option<(u64, Left)> {
    let (head, rest) = place.split_at_checked(HEAD)?;
    let (number, rest_of_head) = head.split_at_checked(NUMBER)?;
    let (length, stated) = rest_of_head.split_at_checked(LENGTH)?;
    let content = usize::try_from(u64::from_be_bytes(length.try_into().ok()?)).ok()?;
    let content = rest.get(..content)?;
    if digest(number, length, content) != stated {
        return None;
    }
    Some((u64::from_be_bytes(number.try_into().ok()?), cbor::decode(content).ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    /// Memory as init keeps it, of a kind that each kernel has.
    pub(crate) fn file() -> OwnedFd {
        let file = memfd_create("kept", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, u64::try_from(BYTES).unwrap()).unwrap();
        file
    }

    fn left(key: &str, count: u32) -> Left {
        let uses = [("token".to_owned(), (count, 9))].into();
        Left { keys: Some(Bytes(key.as_bytes().to_vec())), uses }
    }

    fn raw(file: &OwnedFd) -> Vec<u8> {
        Shared::map(file, BYTES).unwrap().read()
    }

    fn holds(file: &OwnedFd, key: &str) -> bool {
        raw(file).windows(key.len()).any(|part| part == key.as_bytes())
    }

    #[test]
    fn the_next_vault_finds_what_was_left_last_and_nothing_of_before() {
        let file = file();
        assert_eq!(Kept::of(&file).unwrap().left(), None);
        let mut first = Kept::of(&file).unwrap();
        for (key, count) in [("first-key", 1), ("second-key", 2), ("third-key", 3)] {
            assert!(first.leave(&left(key, count)));
            let mut next = Kept::of(&file).unwrap();
            assert_eq!(next.left(), Some(left(key, count)));
        }
        assert!(holds(&file, "third-key"), "the control");
        assert!(!holds(&file, "first-key") && !holds(&file, "second-key"));
        let mut next = Kept::of(&file).unwrap();
        next.left();
        assert!(next.leave(&left("fourth-key", 4)));
        assert_eq!(Kept::of(&file).unwrap().left(), Some(left("fourth-key", 4)));
        next.wipe();
        assert_eq!(Kept::of(&file).unwrap().left(), None);
        assert!(raw(&file).iter().all(|byte| *byte == 0));
        assert!(!Kept::default().leave(&left("key", 1)), "without memory nothing is left");
    }

    #[test]
    fn what_was_cut_off_in_any_byte_is_what_was_there_before() {
        let (before, after) = (left("before-key", 1), left("after-key", 2));
        let whole = written(2, &cbor::encode(&after).unwrap());
        for cut in 0..=whole.len() {
            let file = file();
            assert!(Kept::of(&file).unwrap().leave(&before));
            let mut memory = Shared::map(&file, BYTES).unwrap();
            assert!(memory.write(0, &whole[..cut]));
            let expected = if cut == whole.len() { &after } else { &before };
            assert_eq!(Kept::of(&file).unwrap().left().as_ref(), Some(expected), "{cut}");
        }
    }

    #[test]
    fn more_than_there_is_room_for_leaves_nothing() {
        let file = file();
        let mut kept = Kept::of(&file).unwrap();
        assert!(kept.leave(&left("key", 1)));
        assert!(!kept.leave(&left(&"x".repeat(PLACE_BYTES), 1)));
        assert_eq!(kept.left(), None);
    }
}
