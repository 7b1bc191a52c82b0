//! The verified root: its superblock, its partitions by root hash, its device (dm-verity, kernel
//! documentation admin-guide/device-mapper/verity.rst).

use crate::disk::Partition;
use crate::error::{BootError, While};
use crate::guid::{self, Guid};
use contract::digits::{hex, unhex_array};
use std::fs::File;
use std::os::unix::fs::FileExt;

const BLOCK_BYTES: u32 = 4096;
const SALT_BYTES_MAX: usize = 256;

/// A root hash in its 64 hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RootHash([u8; 32]);

impl RootHash {
    /// Takes `roothash=` or `toolboxhash=`, whichever `name` says, from the kernel's command line, which
    /// the signed image carries.
    pub(crate) fn from_command_line(line: &str, name: &str) -> Result<Self, BootError> {
        let refused =
            |why| BootError::new("read", format!("{name}= of the kernel command line"), why);
        let value = |word| str::strip_prefix(word, name)?.strip_prefix('=');
        let mut words = line.split_ascii_whitespace().filter_map(value);
        let word = words.next().ok_or_else(|| refused("it is missing"))?;
        if words.next().is_some() {
            return Err(refused("it is there twice"));
        }
        unhex_array(&word.to_ascii_lowercase())
            .map(Self)
            .ok_or_else(|| refused("it is not 64 hexadecimal digits"))
    }

    /// The UUIDs of its two partitions: of the data, and of the tree of hashes over them.
    pub(crate) fn partitions(&self) -> [Guid; 2] {
        [guid::half(&self.0, false), guid::half(&self.0, true)]
    }
}

/// Opens two partitions as one device of this name, verified by `hash`; returns its path.
pub(crate) fn open(
    name: &str,
    hash: &RootHash,
    [data, tree]: [Partition; 2],
) -> Result<String, BootError> {
    let superblock = Superblock::read(&tree)?;
    let room = data.bytes / u64::from(BLOCK_BYTES);
    if superblock.data_blocks > room {
        return Err(BootError::new("verity superblock", &tree.path, "more blocks than data"));
    }
    let parameters = format!(
        "1 {} {} {BLOCK_BYTES} {BLOCK_BYTES} {} 1 sha256 {} {} 2 panic_on_corruption panic_on_error",
        data.path,
        tree.path,
        superblock.data_blocks,
        hex(&hash.0),
        superblock.salt,
    );
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/mapper/control")
        .during("open", "device mapper")?;
    let sectors = superblock.data_blocks * u64::from(BLOCK_BYTES / 512);
    let minor = linux::device_mapper::create(&control, name, sectors, "verity", &parameters)?;
    Ok(format!("/dev/dm-{minor}"))
}

/// What the hash partition says of itself. It is believed only as far as the root hash covers it:
/// another salt or tree gives another root hash.
struct Superblock {
    data_blocks: u64,
    salt: String,
}

impl Superblock {
    fn read(tree: &Partition) -> Result<Self, BootError> {
        let mut bytes = [0; 512];
        let file = File::open(&tree.path).during("open", &tree.path)?;
        file.read_exact_at(&mut bytes, 0).during("read", &tree.path)?;
        Self::parse(&bytes).map_err(|why| BootError::new("verity superblock", &tree.path, why))
    }

    fn parse(bytes: &[u8; 512]) -> Result<Self, &'static str> {
        let number = |at: usize| {
            bytes
                .get(at..at + 4)
                .and_then(|b| b.first_chunk())
                .map_or(0, |b| u32::from_le_bytes(*b))
        };
        if bytes.first_chunk() != Some(b"verity\0\0") {
            return Err("no signature");
        }
        if (number(8), number(12)) != (1, 1) {
            return Err("another version or hash type than 1");
        }
        let algorithm = bytes.get(32..64).unwrap_or_default();
        if !algorithm.starts_with(b"sha256\0") {
            return Err("another algorithm than sha256");
        }
        if (number(64), number(68)) != (BLOCK_BYTES, BLOCK_BYTES) {
            return Err("another block size than 4096");
        }
        let blocks = bytes.get(72..80).and_then(|b| b.first_chunk()).copied().unwrap_or([0; 8]);
        let salt_bytes = bytes.get(80..82).and_then(|b| b.first_chunk()).copied().unwrap_or([0; 2]);
        let length = usize::from(u16::from_le_bytes(salt_bytes));
        let salt = bytes.get(88..88 + length).filter(|_| length <= SALT_BYTES_MAX);
        let salt = salt.ok_or("a salt of more than 256 bytes")?;
        let salt = if salt.is_empty() { "-".to_owned() } else { hex(salt) };
        Ok(Self { data_blocks: u64::from_le_bytes(blocks), salt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_hash_is_one_word_of_64_digits() {
        let good = "ab".repeat(32);
        assert!(
            RootHash::from_command_line(&format!("quiet roothash={good} panic=1"), "roothash")
                .is_ok()
        );
        for bad in [
            "quiet".to_owned(),
            format!("roothash={good}0"),
            format!("roothash=+{}", "a".repeat(63)),
            format!("roothash={good} roothash={good}"),
            "roothash=".to_owned(),
        ] {
            assert!(RootHash::from_command_line(&bad, "roothash").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_superblock_of_another_kind_is_refused() {
        let mut bytes = [0; 512];
        bytes[..8].copy_from_slice(b"verity\0\0");
        bytes[8] = 1;
        bytes[12] = 1;
        bytes[32..38].copy_from_slice(b"sha256");
        bytes[65] = 16;
        bytes[69] = 16;
        bytes[72] = 9;
        bytes[80] = 32;
        assert_eq!(Superblock::parse(&bytes).unwrap().data_blocks, 9);
        for (at, value) in [(0, b'V'), (8, 2), (12, 0), (32, b'x'), (65, 8), (81, 2)] {
            let mut other = bytes;
            other[at] = value;
            assert!(Superblock::parse(&other).is_err(), "byte {at}");
        }
    }
}
