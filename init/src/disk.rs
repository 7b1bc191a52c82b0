//! The box's disk: where its partitions are, and the ones that the first boot makes.

use crate::console;
use crate::error::{BootError, While};
use crate::gpt::{self, Entry, Table};
use crate::guid::{self, Guid};
use crate::timeline::boot_ms;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const ALIGNMENT_BYTES: u64 = MIB;
const META_BYTES: u64 = 4 * MIB;
const STATE_BYTES: u64 = 256 * MIB;
const LEDGER_BYTES_MIN: u64 = 1024 * MIB;
const DATA_BYTES_MIN: u64 = 256 * MIB;
const RETRY: Duration = Duration::from_millis(20);

/// A partition as a device.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    /// Its device file.
    pub(crate) path: String,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

/// A whole disk, its table read.
#[derive(Debug)]
pub(crate) struct Disk {
    name: String,
    file: File,
    sector: u64,
    sectors: u64,
    pub(crate) table: Table,
}

impl Disk {
    fn open(name: &str) -> Result<Self, BootError> {
        let path = format!("/dev/{name}");
        let file = File::options().read(true).write(true).open(&path).during("open", &path)?;
        let sector = u64::from(rustix::fs::ioctl_blksszget(&file).during("BLKSSZGET", &path)?);
        let sectors = linux::block::size_bytes(&file)? / sector;
        let table = Table::read(&file, sector, sectors)?;
        Ok(Self { name: name.to_owned(), file, sector, sectors, table })
    }

    /// Its two partitions with these UUIDs.
    pub(crate) fn pair(&self, wanted: [Guid; 2]) -> Option<[Partition; 2]> {
        let by = |unique: Guid| {
            let entry = self.table.entries.iter().find(|entry| entry.unique == unique);
            entry.map(|entry| self.partition(entry))
        };
        let [data, tree] = wanted;
        by(data).zip(by(tree)).map(|(data, tree)| [data, tree])
    }

    /// The device of one of its partitions.
    pub(crate) fn partition(&self, entry: &Entry) -> Partition {
        let separator = if self.name.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
        Partition {
            path: format!("/dev/{}{separator}{}", self.name, entry.number),
            bytes: entry.sectors() * self.sector,
        }
    }

    /// Writes the table after a change to its attributes.
    pub(crate) fn write_table(&self) -> Result<(), BootError> {
        self.table.write(&self.file, self.sector, self.sectors)
    }
}

/// Finds the two partitions with these UUIDs on one disk, waiting for slow buses until `deadline_ms` of
/// boot time. Two disks with the same root are refused: which one holds this box's ledger could not be
/// known.
pub(crate) fn find(wanted: [Guid; 2], deadline_ms: u64) -> Result<[Partition; 2], BootError> {
    loop {
        let mut found = Vec::new();
        for disk in disk_names()?.iter().filter_map(|name| Disk::open(name).ok()) {
            found.extend(disk.pair(wanted));
        }
        let several = found.len() > 1;
        match found.pop() {
            Some(_) if several => {
                return Err(BootError::new("find", "the root", "more than one disk carries it"));
            }
            Some(pair) => return Ok(pair),
            None if boot_ms() > deadline_ms => {
                let disks = disk_names()?.join(" ");
                let cause = format!("no disk carries the root hash of this kernel (seen: {disks})");
                return Err(BootError::new("find", "the root", cause));
            }
            None => std::thread::sleep(RETRY),
        }
    }
}

/// Opens the disk that holds the verified root.
pub(crate) fn of_the_root() -> Result<Disk, BootError> {
    let slaves = "/sys/class/block/dm-0/slaves";
    let mut parts = std::fs::read_dir(slaves).during("list", slaves)?.flatten();
    let part = parts.next().ok_or_else(|| BootError::new("list", slaves, "it is empty"))?;
    let path = std::fs::canonicalize(part.path()).during("resolve", slaves)?;
    let name = path.parent().and_then(|disk| disk.file_name()).and_then(|name| name.to_str());
    Disk::open(name.ok_or_else(|| BootError::new("find", "the disk of the root", "no parent"))?)
}

/// Makes the partitions that the image leaves to the first boot, and lets DATA fill the disk.
///
/// The table is written only when it changed, and the kernel is told of each change.
pub(crate) fn prepare() -> Result<Disk, BootError> {
    let mut disk = of_the_root()?;
    let before = disk.table.clone();
    let total = disk.sectors * disk.sector;
    for (kind, name, bytes) in [
        (guid::META, "meta", META_BYTES),
        (guid::STATE, "state", STATE_BYTES),
        (guid::LEDGER, "ledger", LEDGER_BYTES_MIN.max(total / 20)),
    ] {
        if disk.table.only(kind).is_none() {
            let sectors = bytes.next_multiple_of(ALIGNMENT_BYTES) / disk.sector;
            append(&mut disk, kind, name, sectors)?;
        }
    }
    fill_with_data(&mut disk)?;
    if before.only(guid::META).is_none() {
        blank_meta(&disk)?;
    }
    if disk.table.entries != before.entries {
        disk.write_table()?;
        announce(&disk, &before)?;
    }
    Ok(disk)
}

/// A new META holds nothing: not what an earlier system left at the same place.
fn blank_meta(disk: &Disk) -> Result<(), BootError> {
    let meta = disk.table.only(guid::META);
    let meta = meta.ok_or_else(|| BootError::new("find", "META", "not exactly one"))?;
    let zeros = vec![0; usize::try_from(META_BYTES).unwrap_or(0)];
    disk.file.write_all_at(&zeros, meta.first * disk.sector).during("blank", "META")?;
    disk.file.sync_all().during("flush", "META")
}

fn fill_with_data(disk: &mut Disk) -> Result<(), BootError> {
    let alignment = ALIGNMENT_BYTES / disk.sector;
    let usable = (Table::last_usable(disk.sector, disk.sectors) + 1) / alignment * alignment;
    if disk.table.only(guid::DATA).is_none() {
        let start = disk.table.end().next_multiple_of(alignment);
        append(disk, guid::DATA, "data", usable.saturating_sub(start))?;
    }
    let end = disk.table.end();
    let data = disk.table.entries.iter_mut().find(|entry| entry.kind == guid::DATA);
    if let Some(data) = data.filter(|data| data.last + 1 == end && end < usable) {
        data.last = usable - 1;
    }
    Ok(())
}

fn append(disk: &mut Disk, kind: Guid, name: &str, sectors: u64) -> Result<(), BootError> {
    if disk.table.entries.iter().any(|entry| entry.kind == kind) {
        return Err(BootError::new("partition", name, "there is more than one of it"));
    }
    let first = disk.table.end().next_multiple_of(ALIGNMENT_BYTES / disk.sector);
    let room = (Table::last_usable(disk.sector, disk.sectors) + 1).saturating_sub(first);
    let least = if kind == guid::DATA { DATA_BYTES_MIN / disk.sector } else { sectors };
    if room < least || sectors < least {
        let missing = least.saturating_sub(room.min(sectors)) * disk.sector / MIB + 1;
        let cause = format!("the disk is too small by {missing} MiB");
        return Err(BootError::new("make partition", name, cause));
    }
    let number = disk.table.free_number();
    let number =
        number.ok_or_else(|| BootError::new("make partition", name, "the table is full"))?;
    let (unique, name) = (random_guid()?, gpt::name_field(name));
    let last = first + sectors - 1;
    disk.table.entries.push(Entry { number, kind, unique, first, last, attributes: 0, name });
    Ok(())
}

/// Tells the kernel which partitions are new and which are longer.
fn announce(disk: &Disk, before: &Table) -> Result<(), BootError> {
    for entry in &disk.table.entries {
        let old = before.entries.iter().find(|old| old.number == entry.number);
        if old.is_some_and(|old| old.sectors() == entry.sectors()) {
            continue;
        }
        let signed = |value: u64| i64::try_from(value).during("announce", "partition");
        let number = i32::try_from(entry.number).during("announce", "partition")?;
        let start = signed(entry.first * disk.sector)?;
        let length = signed(entry.sectors() * disk.sector)?;
        if old.is_some() {
            linux::block::resize_partition(&disk.file, number, start, length)?;
        } else {
            linux::block::add_partition(&disk.file, number, start, length)?;
        }
        console::note(&format!("partition {number}: {} MiB", length / (1 << 20)));
    }
    Ok(())
}

/// A random UUID, version 4, in the order of the disk.
pub(crate) fn random_guid() -> Result<Guid, BootError> {
    let mut bytes = [0; 16];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    if filled != Ok(16) {
        return Err(BootError::new("getrandom", "16 bytes", "not filled"));
    }
    let [a, b, c, d, e, f, g, h, i, rest @ ..] = bytes;
    let [j, k, l, m, n, o, p] = rest;
    Ok([a, b, c, d, e, f, g, (h & 0x0f) | 0x40, (i & 0x3f) | 0x80, j, k, l, m, n, o, p])
}

/// Whole disks that the kernel knows, by name.
fn disk_names() -> Result<Vec<String>, BootError> {
    let list = std::fs::read_dir("/sys/block").during("list", "/sys/block")?;
    let mut names: Vec<String> =
        list.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with("dm-") && !name.starts_with("loop"));
    names.sort();
    Ok(names)
}
