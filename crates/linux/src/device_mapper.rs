//! One read-only device-mapper target, by the three ioctls that it takes (linux/dm-ioctl.h).

use crate::{KernelError, ioctl};
use std::fs::File;
use std::os::fd::AsFd;

const DM_DEV_CREATE: u32 = 0xc138_fd03;
const DM_DEV_SUSPEND: u32 = 0xc138_fd06;
const DM_TABLE_LOAD: u32 = 0xc138_fd09;
const DM_READONLY_FLAG: u32 = 1;
const HEADER_BYTES: usize = 312;
const TARGET_BYTES: usize = 40;
const BUFFER_BYTES: usize = 4096;

/// Room for `struct dm_ioctl`, one `struct dm_target_spec` and its parameter string.
#[repr(C, align(8))]
struct Buffer([u8; BUFFER_BYTES]);

// SAFETY: bytes are valid for every pattern; the kernel reads and writes at most the `data_size`
// that the header states, which `Buffer::new` sets to the size of the whole buffer.
unsafe impl ioctl::Argument for Buffer {}

impl Buffer {
    fn new(name: &str, device: u64, flags: u32, targets: u32) -> Self {
        let mut buffer = Self([0; BUFFER_BYTES]);
        buffer.put(0, &4_u32.to_ne_bytes()); // version 4.0.0
        buffer.put(12, &u32::try_from(BUFFER_BYTES).unwrap_or(0).to_ne_bytes());
        buffer.put(16, &u32::try_from(HEADER_BYTES).unwrap_or(0).to_ne_bytes());
        buffer.put(20, &targets.to_ne_bytes());
        buffer.put(28, &flags.to_ne_bytes());
        buffer.put(40, &device.to_ne_bytes());
        if device == 0 {
            buffer.put(48, name.as_bytes());
        }
        buffer
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(room) = self.0.get_mut(offset..offset.saturating_add(bytes.len())) {
            room.copy_from_slice(bytes);
        }
    }

    fn device(&self) -> u64 {
        let mut bytes = [0; 8];
        if let Some(found) = self.0.get(40..48) {
            bytes.copy_from_slice(found);
        }
        u64::from_ne_bytes(bytes)
    }
}

/// Creates the read-only device `name` with one target over its first `sectors` of 512 bytes;
/// returns the minor number N of `/dev/dm-N`.
///
/// `name` is at most 100 bytes, `target` at most 15, `parameters` at most 3,000; longer ones are
/// refused as `E2BIG`.
///
/// # Errors
/// The kernel's refusal of one of the three steps; a half-made device stays, unreachable.
pub fn create(
    control: &File,
    name: &str,
    sectors: u64,
    target: &str,
    parameters: &str,
) -> Result<u64, KernelError> {
    if name.len() > 100 || target.len() > 15 || parameters.len() > 3_000 {
        return Err(KernelError::new("DM_DEV_CREATE", name, rustix::io::Errno::TOOBIG));
    }
    let mut created = Buffer::new(name, 0, DM_READONLY_FLAG, 0);
    ioctl::call(control.as_fd(), "DM_DEV_CREATE", DM_DEV_CREATE, &mut created)?;
    let device = created.device();

    let mut table = Buffer::new(name, device, DM_READONLY_FLAG, 1);
    table.put(HEADER_BYTES + 8, &sectors.to_ne_bytes());
    table.put(HEADER_BYTES + 24, target.as_bytes());
    table.put(HEADER_BYTES + TARGET_BYTES, parameters.as_bytes());
    ioctl::call(control.as_fd(), "DM_TABLE_LOAD", DM_TABLE_LOAD, &mut table)?;

    let mut resume = Buffer::new(name, device, DM_READONLY_FLAG, 0);
    ioctl::call(control.as_fd(), "DM_DEV_SUSPEND", DM_DEV_SUSPEND, &mut resume)?;
    Ok(minor(device))
}

/// The minor number of a device number as the kernel packs it (`new_encode_dev`).
fn minor(device: u64) -> u64 {
    (device & 0xff) | ((device >> 12) & 0x000f_ff00)
}
