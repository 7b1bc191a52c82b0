//! Wall time is never before the image was built, whatever the machine's clock says.

use crate::console;
use crate::error::{BootError, While};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

/// When this image was made, in seconds since 1970.
const BUILT: &str = "/usr/lib/kruxos/built";

/// Puts the wall clock forward to the time of the build, if it is behind.
pub(crate) fn floor() -> Result<(), BootError> {
    let text = std::fs::read_to_string(BUILT).during("read", BUILT)?;
    let built: i64 = text.trim().parse().during("read", BUILT)?;
    let now = clock_gettime(ClockId::Realtime).tv_sec;
    if now < built {
        let floor = Timespec { tv_sec: built, tv_nsec: 0 };
        clock_settime(ClockId::Realtime, floor).during("set", "the wall clock")?;
        console::say(&format!(
            "the clock was {} s before this image was built; set to that",
            built - now
        ));
    }
    Ok(())
}
