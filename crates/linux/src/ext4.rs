//! A mounted ext4: its own UUID, and its growth (ioctl_ext4(2)), so that no mkfs or resize2fs ships.

use crate::{KernelError, ioctl, last_errno};
use std::os::fd::{AsFd, AsRawFd};

const EXT4_IOC_RESIZE_FS: u32 = 0x4008_6610;
const EXT4_IOC_SETFSUUID: u32 = 0x4008_662c;

const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const FS_XFLAG_PROJINHERIT: u32 = 0x200;
/// quotactl(2): `QCMD(Q_SETQUOTA, PRJQUOTA)`.
const SET_PROJECT_QUOTA: libc::c_uint = 0x8000_0802;
/// Which limits of a `struct dqblk` are meant: blocks and inodes.
const QIF_LIMITS: u32 = 1 | 4;
/// The kernel counts quota blocks of this size.
const QUOTA_BLOCK_BYTES: u64 = 1024;
/// A project has one inode for so many bytes of its quota.
const BYTES_AN_INODE: u64 = 16_384;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Debug, Default)]
struct FsXattr {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

// SAFETY: `repr(C)`, plain integers, 28 bytes as the two requests say in their numbers.
unsafe impl ioctl::Argument for FsXattr {}

/// `struct dqblk` of linux/quota.h.
#[repr(C)]
#[derive(Debug, Default)]
struct Quota {
    blocks_hard: u64,
    blocks_soft: u64,
    space: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

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

/// Puts a directory, and all that will be made in it, under `project` (ioctl_fs(2)).
///
/// # Errors
/// The kernel's refusal: no owner and no `CAP_FOWNER`, or a file system without projects.
pub fn set_project(directory: impl AsFd, project: u32) -> Result<(), KernelError> {
    let mut argument = FsXattr::default();
    ioctl::call(&directory, "FS_IOC_FSGETXATTR", FS_IOC_FSGETXATTR, &mut argument)?;
    argument.project = project;
    argument.flags |= FS_XFLAG_PROJINHERIT;
    ioctl::call(&directory, "FS_IOC_FSSETXATTR", FS_IOC_FSSETXATTR, &mut argument).map(drop)
}

/// Bounds what the files of `project` may use, on the file system that holds `directory`
/// (`quotactl_fd`, Linux 5.14): bytes, and one inode for each 16 KiB of them.
///
/// # Errors
/// The kernel's refusal: no `CAP_SYS_ADMIN`, or mounted without `prjquota`.
pub fn set_project_quota(
    directory: impl AsFd,
    project: u32,
    bytes: u64,
) -> Result<(), KernelError> {
    let mut quota = Quota {
        blocks_hard: bytes / QUOTA_BLOCK_BYTES,
        inodes_hard: bytes / BYTES_AN_INODE,
        valid: QIF_LIMITS,
        ..Quota::default()
    };
    let raw = directory.as_fd().as_raw_fd();
    let pointer: *mut Quota = &raw mut quota;
    // SAFETY: 1. `raw` is open while `directory` is borrowed. 2. For Q_SETQUOTA the kernel reads a
    // `struct dqblk`, of which `Quota` is the layout, through a pointer that is valid for the call.
    let result =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, raw, SET_PROJECT_QUOTA, project, pointer) };
    if result < 0 { Err(KernelError::new("quotactl_fd", project, last_errno())) } else { Ok(()) }
}
