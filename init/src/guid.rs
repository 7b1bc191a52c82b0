//! GUIDs as the partition table stores them: the first three fields little-endian (UEFI 2.10,
//! appendix A), and the types that KruxOS gives its partitions.

/// Sixteen bytes in the order of the disk.
pub(crate) type Guid = [u8; 16];

/// Reads `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` at compile time; a wrong length does not compile.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, bounds included")]
const fn guid(text: &[u8; 36]) -> Guid {
    const ORDER: [usize; 16] = [6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut bytes = [0; 16];
    let mut index = 0;
    while index < 16 {
        bytes[index] = (nibble(text[ORDER[index]]) << 4) | nibble(text[ORDER[index] + 1]);
        index += 1;
    }
    bytes
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// The EFI system partition.
pub(crate) const ESP: Guid = guid(b"c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// META: the box's small authenticated record.
pub(crate) const META: Guid = guid(b"3ceaaf30-8142-48ea-91d9-3080f9b439fc");
/// STATE: settings and identity.
pub(crate) const STATE: Guid = guid(b"9dfb369b-ab13-4fae-a276-55daa05f1119");
/// LEDGER: the audit ledger alone.
pub(crate) const LEDGER: Guid = guid(b"6301bbfc-a0c5-454e-8ff9-bb510944fe0c");
/// DATA: agents' workspaces.
pub(crate) const DATA: Guid = guid(b"6fced11d-2bd8-41e6-847a-8387cdde8d51");

/// The GUID whose text form is the first, or with `second` the last, 32 digits of a verity root
/// hash: the UUIDs of its data and hash partitions (Discoverable Partitions Specification).
pub(crate) fn half(root_hash: &[u8; 32], second: bool) -> Guid {
    let (first_half, second_half) = root_hash.split_at(16);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(if second { second_half } else { first_half });
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_fields_are_little_endian() {
        assert_eq!(&ESP[..8], &[0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
        assert_eq!(&ESP[8..], &[0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]);
    }

    #[test]
    fn a_root_hash_names_its_two_partitions() {
        let mut hash = [0; 32];
        for (byte, value) in hash.iter_mut().zip(0..) {
            *byte = value;
        }
        assert_eq!(half(&hash, false)[..4], [3, 2, 1, 0]);
        assert_eq!(half(&hash, true)[8..], [24, 25, 26, 27, 28, 29, 30, 31]);
    }
}
