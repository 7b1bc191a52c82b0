//! A mounted ext4: its own UUID, and its growth (ioctl_ext4(2)), so that no mkfs or resize2fs ships.

use crate::{KernelError, ioctl};
use std::os::fd::AsFd;

const EXT4_IOC_RESIZE_FS: u32 = 0x4008_6610;
const EXT4_IOC_SETFSUUID: u32 = 0x4008_662c;

/// `struct fsuuid` of linux/ext4.h with its 16 bytes in place.
#[repr(C)]
#[derive(Debug)]
struct FsUuid {
    length: u32,
    flags: u32,
    uuid: [u8; 16],
}

// SAFETY: `repr(C)`, plain integers; EXT4_IOC_SETFSUUID reads eight bytes and then `length` more.
unsafe impl ioctl::Argument for FsUuid {}

/// Gives the mounted file system that holds `directory` another UUID.
///
/// # Errors
/// The kernel's refusal: not ext4, read-only, or without `metadata_csum_seed`.
pub fn set_uuid(directory: impl AsFd, uuid: [u8; 16]) -> Result<(), KernelError> {
    let mut argument = FsUuid { length: 16, flags: 0, uuid };
    ioctl::call(directory, "EXT4_IOC_SETFSUUID", EXT4_IOC_SETFSUUID, &mut argument).map(drop)
}

/// Grows the mounted file system that holds `directory` to `blocks` of its own block size.
///
/// # Errors
/// The kernel's refusal; growing to the present size is no error.
pub fn resize(directory: impl AsFd, blocks: u64) -> Result<(), KernelError> {
    let mut argument = blocks;
    ioctl::call(directory, "EXT4_IOC_RESIZE_FS", EXT4_IOC_RESIZE_FS, &mut argument).map(drop)
}
