//! The GUID partition table (UEFI 2.10 section 5.3): read with both checksums, written backup
//! first, so that a cut between any two writes leaves one good table.

use crate::error::{BootError, While};
use crate::guid::Guid;
use std::fs::File;
use std::os::unix::fs::FileExt;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const HEADER_BYTES: usize = 92;
const ENTRY_BYTES: usize = 128;
const ENTRIES: usize = 128;
const TABLE_BYTES: usize = ENTRY_BYTES * ENTRIES;

/// Attribute bit 48: KruxOS has made the file system of this partition. Without the bit init makes
/// it, with the bit it never does again, whatever the partition holds.
pub(crate) const MADE: u64 = 1 << 48;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Number that the kernel knows it by, from 1.
    pub(crate) number: usize,
    pub(crate) kind: Guid,
    pub(crate) unique: Guid,
    /// First sector.
    pub(crate) first: u64,
    /// Last sector, which still belongs to it.
    pub(crate) last: u64,
    pub(crate) attributes: u64,
    /// UTF-16 text as it stands on the disk.
    pub(crate) name: [u8; 72],
}

/// A table in memory.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    disk: Guid,
    first_usable: u64,
    pub(crate) entries: Vec<Entry>,
}

impl Table {
    /// Reads the table of a disk with sectors of `sector` bytes and `sectors` of them: the primary
    /// one, or the backup at the end when the primary is damaged.
    pub(crate) fn read(disk: &File, sector: u64, sectors: u64) -> Result<Self, BootError> {
        let backup = |first| match Self::read_at(disk, sector, sectors.saturating_sub(1)) {
            Ok(table) => Ok(table),
            Err(_second) => Err(first),
        };
        Self::read_at(disk, sector, 1).or_else(backup)
    }

    fn read_at(disk: &File, sector: u64, at: u64) -> Result<Self, BootError> {
        let bad = |why: &str| BootError::new("read partition table at sector", at, why);
        let mut header = [0; HEADER_BYTES];
        disk.read_exact_at(&mut header, at * sector).during("read partition table", at)?;
        if header.first_chunk::<8>() != Some(SIGNATURE) {
            return Err(bad("no GPT signature"));
        }
        let stated = u32_at(&header, 16);
        if stated != header_checksum(header) {
            return Err(bad("header checksum does not match"));
        }
        if u64_at(&header, 24) != at || u32_at(&header, 84) != 128 || u32_at(&header, 80) != 128 {
            return Err(bad("another place, entry size or entry count than expected"));
        }
        let mut table = vec![0; TABLE_BYTES];
        let start =
            u64_at(&header, 72).checked_mul(sector).ok_or_else(|| bad("table out of range"))?;
        disk.read_exact_at(&mut table, start).during("read partition entries", at)?;
        if crc32fast::hash(&table) != u32_at(&header, 88) {
            return Err(bad("entries' checksum does not match"));
        }
        let entries = table
            .chunks_exact(ENTRY_BYTES)
            .enumerate()
            .filter_map(|(index, bytes)| Entry::parse(index + 1, bytes))
            .collect();
        Ok(Self { disk: guid_at(&header, 56), first_usable: u64_at(&header, 40), entries })
    }

    /// The last sector that a partition may use on a disk of `sectors`.
    pub(crate) fn last_usable(sector: u64, sectors: u64) -> u64 {
        sectors.saturating_sub(2 + table_sectors(sector))
    }

    /// The first free sector after every partition.
    pub(crate) fn end(&self) -> u64 {
        self.entries.iter().map(|entry| entry.last + 1).max().unwrap_or(self.first_usable)
    }

    /// The lowest number that no partition has.
    pub(crate) fn free_number(&self) -> Option<usize> {
        (1..=ENTRIES).find(|number| self.entries.iter().all(|entry| entry.number != *number))
    }

    /// The one partition of a kind; `None` when there is none or more than one.
    pub(crate) fn only(&self, kind: Guid) -> Option<&Entry> {
        let mut found = self.entries.iter().filter(|entry| entry.kind == kind);
        found.next().filter(|_| found.next().is_none())
    }

    /// Writes the table to a disk of `sectors`: backup, flush, primary, flush.
    pub(crate) fn write(&self, disk: &File, sector: u64, sectors: u64) -> Result<(), BootError> {
        let mut table = vec![0; TABLE_BYTES];
        for entry in &self.entries {
            let start = (entry.number - 1) * ENTRY_BYTES;
            if let Some(room) = table.get_mut(start..start + ENTRY_BYTES) {
                room.copy_from_slice(&entry.bytes());
            }
        }
        let last = sectors - 1;
        let backup_table = last - table_sectors(sector);
        for (at, other, entries) in [(last, 1, backup_table), (1, last, 2)] {
            let header = self.header(sector, sectors, at, other, entries, &table);
            disk.write_all_at(&table, entries * sector).during("write partition entries", at)?;
            disk.write_all_at(&header, at * sector).during("write partition table", at)?;
            disk.sync_all().during("flush partition table", at)?;
        }
        Ok(())
    }

    fn header(
        &self,
        sector: u64,
        sectors: u64,
        at: u64,
        other: u64,
        entries: u64,
        table: &[u8],
    ) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        put(&mut header, 0, SIGNATURE);
        put(&mut header, 8, &0x0001_0000_u32.to_le_bytes());
        put(&mut header, 12, &92_u32.to_le_bytes());
        put(&mut header, 24, &at.to_le_bytes());
        put(&mut header, 32, &other.to_le_bytes());
        put(&mut header, 40, &self.first_usable.to_le_bytes());
        put(&mut header, 48, &Self::last_usable(sector, sectors).to_le_bytes());
        put(&mut header, 56, &self.disk);
        put(&mut header, 72, &entries.to_le_bytes());
        put(&mut header, 80, &128_u32.to_le_bytes());
        put(&mut header, 84, &128_u32.to_le_bytes());
        put(&mut header, 88, &crc32fast::hash(table).to_le_bytes());
        let checksum = header_checksum(header);
        put(&mut header, 16, &checksum.to_le_bytes());
        header
    }
}

impl Entry {
    /// Length in sectors.
    pub(crate) const fn sectors(&self) -> u64 {
        self.last + 1 - self.first
    }

    fn parse(number: usize, bytes: &[u8]) -> Option<Self> {
        let kind = guid_at(bytes, 0);
        let (first, last) = (u64_at(bytes, 32), u64_at(bytes, 40));
        if kind == [0; 16] || first > last || last == u64::MAX {
            return None;
        }
        let mut name = [0; 72];
        name.copy_from_slice(bytes.get(56..128)?);
        let (unique, attributes) = (guid_at(bytes, 16), u64_at(bytes, 48));
        Some(Self { number, kind, unique, first, last, attributes, name })
    }

    fn bytes(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        put(&mut bytes, 0, &self.kind);
        put(&mut bytes, 16, &self.unique);
        put(&mut bytes, 32, &self.first.to_le_bytes());
        put(&mut bytes, 40, &self.last.to_le_bytes());
        put(&mut bytes, 48, &self.attributes.to_le_bytes());
        put(&mut bytes, 56, &self.name);
        bytes
    }
}

/// A partition's name as UTF-16 in its field.
pub(crate) fn name_field(name: &str) -> [u8; 72] {
    let mut field = [0; 72];
    for (room, unit) in field.chunks_exact_mut(2).zip(name.encode_utf16()) {
        room.copy_from_slice(&unit.to_le_bytes());
    }
    field
}

const fn table_sectors(sector: u64) -> u64 {
    16_384_u64.div_ceil(sector)
}

fn header_checksum(mut header: [u8; HEADER_BYTES]) -> u32 {
    put(&mut header, 16, &[0; 4]);
    crc32fast::hash(&header)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(room) = bytes.get_mut(at..at + value.len()) {
        room.copy_from_slice(value);
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk::<N>).copied().unwrap_or([0; N])
}

fn guid_at(bytes: &[u8], at: usize) -> Guid {
    array_at(bytes, at)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guid;

    const SECTOR: u64 = 512;
    const SECTORS: u64 = 65_536;

    fn disk(name: &str) -> (File, Table) {
        let path = std::env::temp_dir().join(format!("gpt-{}-{name}", std::process::id()));
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(SECTORS * SECTOR).unwrap();
        let entry = Entry {
            number: 1,
            kind: guid::ESP,
            unique: [7; 16],
            first: 2048,
            last: 4095,
            attributes: MADE,
            name: name_field("esp"),
        };
        let table = Table { disk: [9; 16], first_usable: 2048, entries: vec![entry] };
        table.write(&file, SECTOR, SECTORS).unwrap();
        (file, table)
    }

    #[test]
    fn what_is_written_is_read() {
        let (file, table) = disk("same");
        let read = Table::read(&file, SECTOR, SECTORS).unwrap();
        assert_eq!((read.entries, read.disk), (table.entries, table.disk));
    }

    #[test]
    fn a_damaged_primary_is_replaced_by_the_backup() {
        let (file, table) = disk("backup");
        file.write_all_at(&[0xff], SECTOR + 60).unwrap();
        assert_eq!(Table::read(&file, SECTOR, SECTORS).unwrap().entries, table.entries);
        file.write_all_at(&[0xff], (SECTORS - 1) * SECTOR + 60).unwrap();
        assert!(Table::read(&file, SECTOR, SECTORS).is_err());
    }

    #[test]
    fn two_of_a_kind_are_none() {
        let (_, mut table) = disk("two");
        assert!(table.only(guid::ESP).is_some());
        let mut twin = table.entries[0].clone();
        twin.number = table.free_number().unwrap();
        table.entries.push(twin);
        assert!(table.only(guid::ESP).is_none());
    }
}
