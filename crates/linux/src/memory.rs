//! The machine's memory, and a process's own where it holds what nobody else may see.

use crate::confine::limit;
use crate::{KernelError, last_errno};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};
use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// How much there is, in bytes (proc_meminfo(5), `MemTotal`); nothing where the kernel does not say.
#[must_use]
pub fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// No core of this process is ever written, and no process of its user reads its memory (prctl(2) PR_SET_DUMPABLE,
/// setrlimit(2) RLIMIT_CORE). An execve(2) undoes the first.
///
/// # Errors
/// The kernel's refusal.
pub fn hide() -> Result<(), KernelError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| KernelError::new("PR_SET_DUMPABLE", "", errno))?;
    limit(Resource::Core, 0)
}

/// Keeps this process's pages in memory from now on, as they are touched (mlockall(2)), if it may lock `bytes`, the
/// most that it ever has: less would make later allocations fail. Whether they are kept.
///
/// # Errors
/// The kernel's refusal.
pub fn lock(bytes: u64) -> Result<bool, KernelError> {
    if getrlimit(Resource::Memlock).current.is_some_and(|most| most < bytes) {
        return Ok(false);
    }
    // SAFETY: mlockall takes flags alone, and changes no content of memory.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) } == 0 {
        Ok(true)
    } else {
        Err(KernelError::new("mlockall", bytes, last_errno()))
    }
}

/// Memory that lies in a file, and outlives its process as long as somebody holds the file.
#[derive(Debug)]
pub struct Shared {
    first: NonNull<u8>,
    length: usize,
}

/// A file of secret memory: in no map but those of who has the file, not even the kernel's own, and never swapped
/// (memfd_secret(2), Linux 5.14). It cannot be read or written but by [`Shared`].
///
/// # Errors
/// The kernel's refusal: `ENOSYS` where it has no such memory.
pub fn secret(length: usize) -> Result<OwnedFd, KernelError> {
    // SAFETY: memfd_secret takes flags alone and makes a descriptor.
    let made = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let made = i32::try_from(made).ok().filter(|made| *made >= 0);
    let made = made.ok_or_else(|| KernelError::new("memfd_secret", length, last_errno()))?;
    // SAFETY: the descriptor was just made, and nobody else has it.
    let file = unsafe { OwnedFd::from_raw_fd(made) };
    let bytes = u64::try_from(length).unwrap_or(u64::MAX);
    rustix::fs::ftruncate(&file, bytes)
        .map_err(|errno| KernelError::new("ftruncate", length, errno))?;
    Ok(file)
}

impl Shared {
    /// Maps all of a file that is so long.
    ///
    /// # Errors
    /// The kernel's refusal; `EINVAL` for a file of another length.
    pub fn map(file: impl AsFd, length: usize) -> Result<Self, KernelError> {
        let refused = |errno| KernelError::new("mmap", length, errno);
        let found = rustix::fs::fstat(&file).map_err(refused)?.st_size;
        if length == 0 || usize::try_from(found) != Ok(length) {
            return Err(refused(Errno::INVAL));
        }
        let (rights, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at a place of the kernel's choice replaces none.
        let map = unsafe { mmap(std::ptr::null_mut(), length, rights, flags, file, 0) };
        let first =
            NonNull::new(map.map_err(refused)?.cast()).ok_or_else(|| refused(Errno::INVAL))?;
        Ok(Self { first, length })
    }

    /// A copy of all of it.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        // SAFETY: both are `length` bytes long and apart; another process may write meanwhile, and bytes are bytes.
        unsafe { self.first.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), self.length) };
        bytes
    }

    /// Writes bytes at a place. Whether they lie within it; nothing is written otherwise.
    #[must_use]
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> bool {
        let fits = at.checked_add(bytes.len()).is_some_and(|end| end <= self.length);
        if fits {
            // SAFETY: `at` is within the mapping, or at its end.
            let place = unsafe { self.first.as_ptr().add(at) };
            // SAFETY: so many bytes from there on are within the mapping, which `bytes` is no part of.
            unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        }
        fits
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it.
        unsafe { munmap(self.first.as_ptr().cast(), self.length) }.ok();
    }
}

/// An allocator that fills what is given back with zeros: nothing that was on the heap is there after its end,
/// whichever library had it. What grows is copied and the old place filled.
#[derive(Debug)]
pub struct Zeroing<A = System>(pub A);

// SAFETY: 1. Blocks come from the inner allocator and go back to it with the layout that they came with. 2. A block is
// written only before it goes back, when its owner has given it up, and only within its layout. 3. The default
// realloc is alloc, copy and this dealloc.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Zeroing<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the inner allocator's condition.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the inner allocator's condition.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is `layout.size()` bytes that the caller has given up; explicit_bzero(3) is not left out
        // by a compiler.
        unsafe { libc::explicit_bzero(block.cast(), layout.size()) };
        // SAFETY: the caller's promise is the inner allocator's condition.
        unsafe { self.0.dealloc(block, layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Notes what a block holds when it is given back.
    struct Watched(Cell<Option<bool>>);

    // SAFETY: everything is the system's allocator's; a block is read while it is still ours.
    unsafe impl GlobalAlloc for Watched {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's promise.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the block is that long, and was written by the test.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            self.0.set(Some(bytes.iter().all(|byte| *byte == 0)));
            // SAFETY: the caller's promise.
            unsafe { System.dealloc(block, layout) };
        }
    }

    /// Whether a block that was filled is empty when it comes back, freed or grown.
    fn is_empty(allocator: &impl GlobalAlloc, watched: &Cell<Option<bool>>) -> [Option<bool>; 2] {
        let layout = Layout::new::<[u8; 64]>();
        // SAFETY: the layout is not empty.
        let block = unsafe { allocator.alloc(layout) };
        // SAFETY: 64 bytes are there.
        unsafe { block.write_bytes(7, 64) };
        // SAFETY: the block is of this allocator and layout.
        let block = unsafe { allocator.realloc(block, layout, 128) };
        let grown = watched.take();
        // SAFETY: what grew has the first 64 bytes of before.
        assert_eq!(unsafe { block.cast::<[u8; 64]>().read() }, [7; 64]);
        // SAFETY: 128 bytes are there.
        unsafe { block.write_bytes(7, 128) };
        // SAFETY: the block is of this allocator and of this layout now.
        unsafe { allocator.dealloc(block, Layout::new::<[u8; 128]>()) };
        [grown, watched.take()]
    }

    #[test]
    fn what_is_written_is_there_for_who_has_the_file() {
        let file = rustix::fs::memfd_create("kept", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert!(Shared::map(&file, 4_096).is_err(), "of another length");
        rustix::fs::ftruncate(&file, 4_096).unwrap();
        let mut first = Shared::map(&file, 4_096).unwrap();
        assert!(first.write(4_000, &[7; 96]) && !first.write(4_001, &[8; 96]));
        assert!(!first.write(usize::MAX, &[8]));
        drop(first);
        let again = Shared::map(&file, 4_096).unwrap().read();
        assert_eq!((again.len(), &again[3_999..4_001], again[4_095]), (4_096, &[0, 7][..], 7));
    }

    #[test]
    fn what_is_given_back_is_filled_with_zeros() {
        let zeroing = Zeroing(Watched(Cell::new(None)));
        assert_eq!(is_empty(&zeroing, &zeroing.0.0), [Some(true); 2]);
        let plain = Watched(Cell::new(None));
        assert_eq!(is_empty(&plain, &plain.0), [Some(false); 2], "the control");
    }
}
