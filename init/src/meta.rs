//! META: 4 MiB of the disk that hold the box's install id and, from `image/flash --operator`, the
//! key that may pair first. Two copies, each with its checksum; the newer good one counts.

use crate::disk::{Disk, Partition, random_guid};
use crate::error::{BootError, While};
use crate::guid;
use contract::cbor;
use contract::meta::{COPY_BYTES, MAGIC, Meta};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::unix::fs::FileExt;

const HEADER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 32;

/// Reads META, making it at the first boot.
pub(crate) fn load(disk: &Disk) -> Result<Meta, BootError> {
    let entry = disk.table.only(guid::META);
    let entry = entry.ok_or_else(|| BootError::new("find", "META", "not exactly one"))?;
    let partition = disk.partition(entry);
    let file =
        File::options().read(true).write(true).open(&partition.path).during("open", "META")?;
    let mut copies = Vec::new();
    for copy in [0, 1] {
        copies.extend(read(&file, copy)?);
    }
    copies.sort_by_key(|meta| meta.generation);
    match copies.pop() {
        Some(meta) => Ok(meta),
        None if is_blank(&file)? => make(&file, &partition),
        None => Err(BootError::new("read", "META", "both copies are damaged")),
    }
}

fn make(file: &File, partition: &Partition) -> Result<Meta, BootError> {
    let meta = Meta { generation: 1, install: random_guid()?, operator: None };
    for copy in [0, 1] {
        write(file, copy, &meta).during("write", &partition.path)?;
    }
    Ok(meta)
}

/// One copy, if it is whole.
fn read(file: &File, copy: u64) -> Result<Option<Meta>, BootError> {
    let mut bytes = vec![0; COPY_BYTES];
    let at = copy * u64::try_from(COPY_BYTES).unwrap_or(0);
    file.read_exact_at(&mut bytes, at).during("read", "META")?;
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Option<Meta> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let body = rest.get(..length)?;
    let checksum = rest.get(length..length.checked_add(CHECKSUM_BYTES)?)?;
    if magic != MAGIC || Sha256::digest(body).as_slice() != checksum {
        return None;
    }
    cbor::decode(body).ok()
}

fn write(file: &File, copy: u64, meta: &Meta) -> Result<(), String> {
    let body = cbor::encode(meta).map_err(|error| error.to_string())?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + CHECKSUM_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(u64::try_from(body.len()).unwrap_or(0).to_le_bytes());
    bytes.extend(&body);
    bytes.extend(Sha256::digest(&body));
    bytes.resize(COPY_BYTES, 0);
    let at = copy * u64::try_from(COPY_BYTES).unwrap_or(0);
    file.write_all_at(&bytes, at).and_then(|()| file.sync_all()).map_err(|error| error.to_string())
}

/// Whether nothing was ever written: only then may META be made.
fn is_blank(file: &File) -> Result<bool, BootError> {
    let mut bytes = vec![0; COPY_BYTES * 2];
    file.read_exact_at(&mut bytes, 0).during("read", "META")?;
    let magic = |copy: usize| bytes.get(copy..copy + 8) == Some(&MAGIC[..]);
    Ok(!magic(0) && !magic(COPY_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_copy_does_not_count() {
        let path = std::env::temp_dir().join(format!("meta-{}", std::process::id()));
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(4 << 20).unwrap();
        assert!(is_blank(&file).unwrap());
        let meta = Meta { generation: 7, install: [3; 16], operator: None };
        write(&file, 1, &meta).unwrap();
        assert_eq!(read(&file, 1).unwrap(), Some(meta));
        assert_eq!(read(&file, 0).unwrap(), None);
        file.write_all_at(&[0xff], u64::try_from(COPY_BYTES).unwrap() + 20).unwrap();
        assert_eq!(read(&file, 1).unwrap(), None);
        assert!(!is_blank(&file).unwrap());
    }
}
