//! Partitions of a disk that is in use: blkpg(4), without re-reading the whole table.

use crate::{KernelError, ioctl};
use std::os::fd::AsFd;

const BLKGETSIZE64: u32 = 0x8008_1272;
const BLKPG: u32 = 0x1269;
const BLKPG_ADD_PARTITION: i32 = 1;
const BLKPG_RESIZE_PARTITION: i32 = 3;

/// `struct blkpg_partition` of linux/blkpg.h.
#[repr(C)]
#[derive(Debug)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg` of linux/blkpg.h.
#[repr(C)]
#[derive(Debug)]
struct BlkpgArgument {
    operation: i32,
    flags: i32,
    data_length: i32,
    data: *mut BlkpgPartition,
}

// SAFETY: `repr(C)` with the kernel's fields; the kernel only reads it, so no bit pattern is written.
unsafe impl ioctl::Argument for BlkpgArgument {}

/// Size of the block device behind `disk`, in bytes (BLKGETSIZE64).
///
/// # Errors
/// The kernel's refusal, when `disk` is no block device.
pub fn size_bytes(disk: impl AsFd) -> Result<u64, KernelError> {
    let mut bytes = 0_u64;
    ioctl::call(disk, "BLKGETSIZE64", BLKGETSIZE64, &mut bytes)?;
    Ok(bytes)
}

/// Tells the kernel of a partition that was just written to the table of `disk`.
///
/// # Errors
/// The kernel's refusal: the number is taken, or the range overlaps another partition.
pub fn add_partition(
    disk: impl AsFd,
    number: i32,
    start_bytes: i64,
    length_bytes: i64,
) -> Result<(), KernelError> {
    blkpg(disk, BLKPG_ADD_PARTITION, number, start_bytes, length_bytes)
}

/// Tells the kernel that a partition of `disk` has another length now; it may be mounted.
///
/// # Errors
/// The kernel's refusal: no such partition, or the range overlaps another one.
pub fn resize_partition(
    disk: impl AsFd,
    number: i32,
    start_bytes: i64,
    length_bytes: i64,
) -> Result<(), KernelError> {
    blkpg(disk, BLKPG_RESIZE_PARTITION, number, start_bytes, length_bytes)
}

fn blkpg(
    disk: impl AsFd,
    operation: i32,
    number: i32,
    start: i64,
    length: i64,
) -> Result<(), KernelError> {
    let mut partition =
        BlkpgPartition { start, length, number, device_name: [0; 64], volume_name: [0; 64] };
    let mut argument = BlkpgArgument {
        operation,
        flags: 0,
        data_length: i32::try_from(size_of::<BlkpgPartition>()).unwrap_or(i32::MAX),
        data: &raw mut partition,
    };
    ioctl::call(disk, "BLKPG", BLKPG, &mut argument).map(drop)
}
