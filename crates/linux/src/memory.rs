//! The machine's memory, and a process's own where it holds what nobody else may see.

use crate::confine::limit;
use crate::{KernelError, last_errno};
use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};
use std::alloc::{GlobalAlloc, Layout, System};

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
    fn what_is_given_back_is_filled_with_zeros() {
        let zeroing = Zeroing(Watched(Cell::new(None)));
        assert_eq!(is_empty(&zeroing, &zeroing.0.0), [Some(true); 2]);
        let plain = Watched(Cell::new(None));
        assert_eq!(is_empty(&plain, &plain.0), [Some(false); 2], "the control");
    }
}
