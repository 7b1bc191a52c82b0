//! A disk of its own for each test: a sparse copy of an image, which a test may damage.

use crate::{Image, run};
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

const DISK_BYTES: u64 = 8 << 30;

/// Which part of the system a test damages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The hash tree of slot A.
    Tree,
    /// The root of slot A.
    Root,
    /// The toolbox of slot A.
    Toolbox,
}

/// A copy of an image, removed with the test.
#[derive(Debug)]
pub struct Disk {
    /// Where it lies.
    pub path: PathBuf,
}

impl Disk {
    /// Copies `image` for the test `name`, grown to 8 GiB like a real disk.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy(image: &Image, name: &str) -> Result<Self> {
        let folder = crate::root().join("build/tests");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.raw"));
        std::fs::remove_file(path.with_extension("vars")).ok();
        run(Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(&image.disk)
            .arg(&path))?;
        File::options().write(true).open(&path)?.set_len(DISK_BYTES)?;
        Ok(Self { path })
    }

    /// Flips one bit of `part`, `offset` bytes after its beginning.
    ///
    /// # Errors
    /// When the table or the byte cannot be read or written.
    pub fn flip(&self, part: Part, offset: u64) -> Result<()> {
        let file = File::options().read(true).write(true).open(&self.path)?;
        let number = match part {
            Part::Tree => 2,
            Part::Root => 3,
            Part::Toolbox => 7,
        };
        let mut entry = [0; 128];
        file.read_exact_at(&mut entry, 1024 + (number - 1) * 128)?;
        let first = entry.get(32..40).and_then(<[u8]>::first_chunk).context("entry")?;
        let at = u64::from_le_bytes(*first) * 512 + offset;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        byte = byte.map(|byte| byte ^ 0x10);
        file.write_all_at(&byte, at)?;
        Ok(())
    }
}

impl Disk {
    /// Gives slot A the partition UUIDs that belong to `root_hash`, as somebody would who changed
    /// the root hash and hopes that only names are compared.
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub fn claim_root_hash(&self, root_hash: &str) -> Result<()> {
        let (file, mut table) = self.table()?;
        let (data, tree) = root_hash.split_at_checked(32).context("root hash")?;
        for (number, digits) in [(1, tree), (2, data)] {
            let at = number * 128 + 16;
            table.get_mut(at..at + 16).context("entry")?.copy_from_slice(&guid(digits)?);
        }
        write_table(&file, &table)
    }

    /// Makes LEDGER beforehand, of another size than the first boot would give it.
    ///
    /// # Errors
    /// When the table cannot be read or written, or has no room.
    pub fn add_ledger(&self, bytes: u64) -> Result<()> {
        const LEDGER: &str = "6301bbfca0c5454e8ff9bb510944fe0c";
        const ALIGNMENT_SECTORS: u64 = 2_048;
        let (file, mut table) = self.table()?;
        let last = |entry: &[u8]| {
            let bytes = entry.get(40..48).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let end = table.chunks_exact(128).map(last).max().unwrap_or(0) + 1;
        let first = end.next_multiple_of(ALIGNMENT_SECTORS);
        let free = |entry: &&mut [u8]| entry.iter().all(|byte| *byte == 0);
        let entry = table.chunks_exact_mut(128).find(free).context("no free entry")?;
        let mut put = |at: usize, value: &[u8]| -> Result<()> {
            entry.get_mut(at..at + value.len()).context("entry")?.copy_from_slice(value);
            Ok(())
        };
        put(0, &guid(LEDGER)?)?;
        put(16, &guid("0123456789abcdef0123456789abcdef")?)?;
        put(32, &first.to_le_bytes())?;
        put(40, &(first + bytes / 512 - 1).to_le_bytes())?;
        for (unit, at) in "ledger".encode_utf16().zip((56..).step_by(2)) {
            put(at, &unit.to_le_bytes())?;
        }
        write_table(&file, &table)
    }

    fn table(&self) -> Result<(File, Vec<u8>)> {
        const TABLE_BYTES: usize = 128 * 128;
        let file = File::options().read(true).write(true).open(&self.path)?;
        let mut table = vec![0; TABLE_BYTES];
        file.read_exact_at(&mut table, 1024)?;
        Ok((file, table))
    }
}

/// Writes the entries and the header's checksums.
fn write_table(file: &File, table: &[u8]) -> Result<()> {
    let mut header = [0; 92];
    file.read_exact_at(&mut header, 512)?;
    let mut put = |at: usize, value: u32| -> Result<()> {
        header.get_mut(at..at + 4).context("header")?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    };
    put(88, crc32fast::hash(table))?;
    put(16, 0)?;
    let checksum = crc32fast::hash(&header);
    header.get_mut(16..20).context("header")?.copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(table, 1024)?;
    file.write_all_at(&header, 512)?;
    Ok(())
}

/// Sixteen bytes as a partition table stores the GUID with these 32 digits.
fn guid(digits: &str) -> Result<[u8; 16]> {
    let number = u128::from_str_radix(digits, 16)?;
    let [a, b, c, d, e, f, g, h, rest @ ..] = number.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = rest;
    Ok([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

impl Drop for Disk {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
        std::fs::remove_file(self.path.with_extension("vars")).ok();
    }
}
