//! Bodies that are longer than a frame: memory files that nobody can change any more (memfd_create(2),
//! fcntl(2) `F_ADD_SEALS`).

use crate::{ChannelError, kernel};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

const ALL: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// An empty memory file, to be written and then sealed with [`seal`].
///
/// # Errors
/// The kernel's.
pub fn empty() -> Result<OwnedFd, ChannelError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    memfd_create("body", flags).map_err(|errno| kernel("memfd_create", errno))
}

/// Ends every change of a memory file.
///
/// # Errors
/// The kernel's.
pub fn seal(file: impl AsFd) -> Result<(), ChannelError> {
    fcntl_add_seals(file, ALL).map_err(|errno| kernel("F_ADD_SEALS", errno))
}

/// A sealed file that holds `bytes`.
///
/// # Errors
/// The kernel's.
pub fn holding(bytes: &[u8]) -> Result<OwnedFd, ChannelError> {
    let file = std::fs::File::from(empty()?);
    // written at a place, so that who reads it on begins at its beginning
    file.write_all_at(bytes, 0).map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        ChannelError::Kernel { operation: "write", errno }
    })?;
    seal(&file)?;
    Ok(file.into())
}

/// Whether nobody can change the file any more.
#[must_use]
pub fn is_sealed(file: impl AsFd) -> bool {
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(ALL))
}

/// All that a sealed file holds.
///
/// # Errors
/// [`ChannelError::NotSealed`], [`ChannelError::TooLong`] beyond `bytes_max`, and the kernel's.
pub fn read(file: impl AsFd, bytes_max: u64) -> Result<Vec<u8>, ChannelError> {
    let file = file.as_fd();
    if !is_sealed(file) {
        return Err(ChannelError::NotSealed);
    }
    let length = rustix::fs::fstat(file).map_err(|errno| kernel("fstat", errno))?.st_size;
    let length = u64::try_from(length).ok().filter(|length| *length <= bytes_max);
    let length = length.ok_or(ChannelError::TooLong)?;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        let at = u64::try_from(filled).unwrap_or(u64::MAX);
        match rustix::io::pread(file, room, at).map_err(|errno| kernel("pread", errno))? {
            0 => return Err(ChannelError::Truncated),
            count => filled += count,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_body_is_read_and_cannot_change() {
        let file = holding(b"body").unwrap();
        assert_eq!(read(&file, 4).unwrap(), b"body");
        assert!(matches!(read(&file, 3), Err(ChannelError::TooLong)));
        assert!(std::fs::File::from(file).write_all_at(b"x", 0).is_err());
        let open = empty().unwrap();
        assert!(matches!(read(&open, 4), Err(ChannelError::NotSealed)));
    }
}
