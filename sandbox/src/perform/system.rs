//! Reports that need no file.

use serde_json::{Value as Json, json};

pub(super) fn info() -> Json {
    let uname = rustix::system::uname();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "kernel": uname.release().to_string_lossy(),
        "architecture": uname.machine().to_string_lossy(),
    })
}

pub(super) fn time() -> Json {
    json!({ "wall_us": linux::clock::wall_us(), "boot_us": linux::clock::boot_us() })
}
