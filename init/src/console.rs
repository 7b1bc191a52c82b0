//! What PID 1 says: lines on the console and in the kernel's log, and last words on every console
//! and in pstore.

use crate::error::BootError;
use rustix::fs::{OFlags, fcntl_setfl};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// How long the reason of an impossible boot stays readable before the machine restarts.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The kernel's log cuts records at 1,024 bytes less its prefix; a character has up to four.
const LOG_CHARACTERS_MAX: usize = 225;
/// Longest line on the console.
const LINE_CHARACTERS_MAX: usize = 8_192;

/// Says one line on the system console and, at level 6, in the kernel's log.
pub(crate) fn say(line: &str) {
    let line = printable(line);
    kernel_log(6, &line);
    if let Ok(mut console) = open_now("/dev/console") {
        drop(writeln!(console, "kruxos: {line}\r"));
    }
}

/// Opens for writing without waiting: for a carrier, or in development, where console and log are
/// pipes, for a reader that is gone (fifo(7)).
pub(crate) fn open_now(path: &str) -> std::io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(nonblocking).open(path)?;
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

/// Records one line in the kernel's log alone.
pub(crate) fn note(line: &str) {
    kernel_log(6, &printable(line));
}

/// Says why the boot is impossible, on every console and in pstore, and leaves time to read it.
pub(crate) fn last_words(error: &BootError) {
    // pstore takes the log at a restart only when this is set; a good restart need not be kept
    drop(std::fs::write("/sys/module/printk/parameters/always_kmsg_dump", "Y"));
    kernel_log(0, &printable(&format!("this boot is impossible: {error}")));
    kernel_log(0, &format!("restarting in {} s", LAST_WORDS.as_secs()));
    std::thread::sleep(LAST_WORDS);
}

/// Our lines that the kernel's log still holds, oldest first (kernel documentation, dev-kmsg).
pub(crate) fn recent() -> Vec<String> {
    use std::io::Read;
    const RECORDS_MAX: usize = 20_000;
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let log = OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg");
    let Ok(mut log) = log else { return Vec::new() };
    let mut lines = Vec::new();
    let mut record = vec![0; 8_192];
    for _ in 0..RECORDS_MAX {
        match log.read(&mut record) {
            Ok(length @ 1..) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                let line = text.lines().next().and_then(|line| line.split_once(";kruxos: "));
                let at_us = text.split(',').nth(2).and_then(|at| at.parse::<u64>().ok());
                lines.extend(line.zip(at_us).map(|((_, line), at_us)| {
                    format!(
                        "{:>6}.{:03} {}",
                        at_us / 1_000_000,
                        at_us / 1_000 % 1_000,
                        printable(line)
                    )
                }));
            }
            // a record was overwritten while it was read: the next one is there
            Err(error) if error.raw_os_error() == Some(32) => {}
            Ok(_) | Err(_) => break,
        }
    }
    lines
}

/// Makes a panic, which no code path is meant to reach, say where it was before PID 1 aborts and
/// the kernel restarts the machine.
pub(crate) fn say_panics() {
    std::panic::set_hook(Box::new(|panic| kernel_log(0, &printable(&format!("init: {panic}")))));
}

/// Tells somebody who ran this program by hand that it is PID 1's.
pub(crate) fn stray() {
    drop(writeln!(std::io::stderr(), "init: this program is PID 1 of a KruxOS box; not started"));
}

fn kernel_log(level: u8, line: &str) {
    let line: String = line.chars().take(LOG_CHARACTERS_MAX).collect();
    if let Ok(mut log) = open_now("/dev/kmsg") {
        drop(log.write_all(format!("<{level}>kruxos: {line}\n").as_bytes()));
    }
}

/// No control character of a file or a service reaches a terminal.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(LINE_CHARACTERS_MAX)
        .collect()
}
