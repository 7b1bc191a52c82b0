//! The machine itself.

use crate::{Disk, root};
use anyhow::{Result, bail};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What no console may say in a good boot, after the checks that long-lived distributions scan for.
const ALARMS: &[&str] = &[
    "Kernel panic",
    "Oops",
    "BUG:",
    "WARNING:",
    "Call Trace",
    "Out of memory",
    "general protection fault",
    "EXT4-fs error",
    "I/O error",
    "blocked for more than",
    "soft lockup",
    "init: panicked",
];

/// On the kernel's command line: the vdso reads no clock.
pub const CLOCK_BY_KERNEL: &str = "tsc=unstable";

/// How the machine is started; the defaults are those of `image/run`.
#[derive(Debug, Clone)]
pub struct Options {
    /// `x86_64` or `aarch64`.
    pub arch: &'static str,
    /// `virtio`, `nvme`, `ahci` or `usb`.
    pub bus: &'static str,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Leave when the machine restarts, instead of booting again.
    pub once: bool,
    /// One more disk.
    pub second: Option<std::path::PathBuf>,
    /// Kernel, initramfs (nothing for none) and command line to boot directly.
    pub direct: Option<[String; 3]>,
    /// Ports of this machine, on loopback, and the box's ports that they lead to.
    pub forward: Vec<(u16, u16)>,
    /// The box reaches what this machine reaches; this machine's loopback is 10.0.2.2 to it.
    pub outside: bool,
    /// A disk behind an NBD server's socket in place of the file.
    pub nbd: Option<std::path::PathBuf>,
}

impl Options {
    /// An x86_64 machine with a virtio disk and 512 MiB that leaves when it restarts.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            arch: "x86_64",
            bus: "virtio",
            memory_mib: 512,
            once: true,
            second: None,
            direct: None,
            forward: Vec::new(),
            outside: false,
            nbd: None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// A running machine; dropped, it is killed.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    console: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Machine {
    /// Starts a machine on `disk`.
    ///
    /// # Errors
    /// When `image/run` cannot be started.
    pub fn start(disk: &Disk, options: &Options) -> Result<Self> {
        Self::start_at(&disk.path, options)
    }

    /// Starts a machine on the disk at `path`.
    ///
    /// # Errors
    /// When `image/run` cannot be started.
    pub fn start_at(path: &std::path::Path, options: &Options) -> Result<Self> {
        let mut command = Command::new(root().join("image/run"));
        command.arg("--no-build").args(["--arch", options.arch, "--bus", options.bus]);
        command.args(["--memory", &options.memory_mib.to_string()]);
        command.arg("--disk").arg(path).arg("--vars").arg(path.with_extension("vars"));
        if options.once {
            command.arg("--no-reboot");
        }
        if let Some(second) = &options.second {
            command.arg("--second").arg(second);
        }
        for (here, there) in &options.forward {
            command.args(["--forward", &format!("{here}:{there}")]);
        }
        if options.outside {
            command.arg("--outside");
        }
        if let Some(socket) = &options.nbd {
            command.arg("--nbd").arg(socket);
        }
        if let Some([kernel, initrd, append]) = &options.direct {
            command.args(["--kernel", kernel, "--append", append]);
            if !initrd.is_empty() {
                command.args(["--initrd", initrd]);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn()?;
        let console = Arc::new(Mutex::new(String::new()));
        let reader = child.stdout.take().map(|mut output| {
            let console = Arc::clone(&console);
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(length @ 1..) = output.read(&mut chunk) {
                    let text = String::from_utf8_lossy(chunk.get(..length).unwrap_or_default());
                    if let Ok(mut console) = console.lock() {
                        console.push_str(&text);
                    }
                }
            })
        });
        Ok(Self { child, console, reader })
    }

    /// What the console has said so far.
    #[must_use]
    pub fn console(&self) -> String {
        self.console.lock().map(|console| console.clone()).unwrap_or_default()
    }

    /// Waits until the console says `text`; gives up after `seconds`, or when the machine is gone.
    ///
    /// # Errors
    /// With the console's last lines.
    pub fn wait_for(&mut self, text: &str, seconds: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if self.console().contains(text) {
                return Ok(());
            }
            let gone = self.child.try_wait()?.is_some();
            if gone {
                self.reader.take().map(JoinHandle::join);
                if self.console().contains(text) {
                    return Ok(());
                }
            }
            if gone || Instant::now() > deadline {
                bail!("no `{text}` in {seconds} s (gone: {gone}); console:\n{}", self.tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the machine is gone: powered off, or restarted with `once`.
    ///
    /// # Errors
    /// With the console's last lines, when it stays.
    pub fn wait_gone(&mut self, seconds: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("the machine is still there after {seconds} s; console:\n{}", self.tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.reader.take().map(JoinHandle::join);
        Ok(())
    }

    /// Boots to ready, and fails when the console said anything that a good boot does not say.
    ///
    /// # Errors
    /// With the console's last lines.
    pub fn wait_ready(&mut self) -> Result<()> {
        self.wait_for("kruxos: ready after", 180)?;
        self.no_alarm()
    }

    /// Fails when the console said anything that a good boot does not say.
    ///
    /// # Errors
    /// With the alarm and the console's last lines.
    pub fn no_alarm(&self) -> Result<()> {
        let console = self.console();
        for alarm in ALARMS {
            if console.contains(alarm) {
                bail!("the console says `{alarm}`:\n{}", self.tail());
            }
        }
        Ok(())
    }

    /// Types at the QEMU monitor, which shares the console's terminal behind Ctrl-A C.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn monitor(&mut self, line: &str) -> Result<()> {
        use std::io::Write;
        if let Some(input) = &mut self.child.stdin {
            write!(input, "\u{1}c{line}\n\u{1}c")?;
            input.flush()?;
        }
        Ok(())
    }

    /// Types at the box's serial port.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        use std::io::Write;
        if let Some(input) = &mut self.child.stdin {
            writeln!(input, "{line}")?;
            input.flush()?;
        }
        Ok(())
    }

    /// The last lines of the console.
    #[must_use]
    pub fn tail(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
