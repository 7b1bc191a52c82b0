//! A KruxOS machine in QEMU for tests: started by `image/run`, read by its console, ended with the
//! test. Nothing here sleeps for a guess: every wait is for a line, with a deadline that only says
//! when to give up.
#![forbid(unsafe_code)]

mod disk;
mod machine;
pub mod nbd;
mod operated;
mod operator;
pub mod outside;

pub use disk::{Disk, Part};
pub use machine::{CLOCK_BY_KERNEL, Machine, Options};
pub use operated::{Client, Event, Events, Operated, Reply, krux, krux_program, krux_with};
pub use operator::Operator;

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout that is tested.
#[must_use]
pub fn root() -> PathBuf {
    // cargo says where it runs; what was compiled in may be another checkout with the same cache
    let package = std::env::var_os("CARGO_MANIFEST_DIR");
    let package = package.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().map(PathBuf::from).unwrap_or_default()
}

/// Version of the image under test.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A built image: its disk and what lies beside it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The disk, to be copied, never written.
    pub disk: PathBuf,
    /// The root hash in hexadecimal; nothing for a disk that has none.
    pub root_hash: String,
}

impl Image {
    /// The release image for `arch`, which `ci/test image` built beforehand.
    ///
    /// # Errors
    /// When it is not there.
    pub fn release(arch: &str) -> Result<Self> {
        Self::built(&root().join("build"), &format!("kruxos_{VERSION}_{arch}"))
    }

    /// A test image: the release image, `tests/probe` and what `tests/images/NAME` holds.
    ///
    /// # Errors
    /// When it is not there.
    pub fn test(name: &str) -> Result<Self> {
        Self::built(&root().join("build"), &format!("kruxos_{VERSION}_x86_64_{name}"))
    }

    /// The disk of the kernel's own selftests, with our kernel beside it.
    ///
    /// # Errors
    /// When it is not there.
    pub fn selftests() -> Result<Self> {
        let disk = root().join("build/selftests.raw");
        ensure!(disk.exists(), "{} is not built; run ./ci/test kernel", disk.display());
        Ok(Self { disk, root_hash: String::new() })
    }

    fn built(folder: &Path, name: &str) -> Result<Self> {
        let disk = folder.join(format!("{name}.raw"));
        ensure!(disk.exists(), "{} is not built; run ./ci/test image", disk.display());
        let hash = folder.join(format!("{name}.roothash"));
        let root_hash = std::fs::read_to_string(&hash).context("root hash")?.trim().to_owned();
        Ok(Self { disk, root_hash })
    }

    /// A file that mkosi wrote beside the disk, such as `root.raw` or `efi`.
    #[must_use]
    pub fn beside(&self, ending: &str) -> PathBuf {
        self.disk.with_extension(ending)
    }

    /// What the image was made from.
    fn work(&self) -> PathBuf {
        let name = self.disk.file_stem().unwrap_or_default().to_string_lossy();
        self.disk.with_file_name(format!("work-{name}"))
    }

    /// Its kernel.
    ///
    /// # Errors
    /// When it is not there.
    pub fn kernel(&self) -> Result<String> {
        let modules = self.work().join("tree/usr/lib/modules");
        let release = std::fs::read_dir(&modules)?.flatten().next().context("no kernel release")?;
        Ok(release.path().join("vmlinuz").display().to_string())
    }

    /// A boot by this kernel without the loader, with its own initramfs, this root hash, and `more` on
    /// the command line.
    ///
    /// # Errors
    /// When it lacks the hash of its toolbox.
    pub fn direct(&self, kernel: &str, root_hash: &str, more: &str) -> Result<Options> {
        let initrd = self.work().join("initramfs.cpio.zst").display().to_string();
        let toolbox = std::fs::read_to_string(self.beside("toolboxhash"))?;
        let hashes = format!("roothash={root_hash} toolboxhash={}", toolbox.trim());
        let append = format!("console=ttyS0,115200 panic=10 loglevel=4 {hashes} {more}");
        Ok(Options { direct: Some([kernel.to_owned(), initrd, append]), ..Options::new() })
    }
}

/// Says a figure that a test found: a line of its output, shown with `--nocapture` and by `soak`.
#[expect(clippy::print_stdout, reason = "the output of a test is where its figures belong")]
pub fn report(line: &str) {
    println!("measured: {line}");
}

/// Runs a program of the tools tree or of the checkout to its end; its output, or its error's.
///
/// # Errors
/// When it fails.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `image/tool PROGRAM …`: a program of the tools tree that reads and writes below `build/`.
#[must_use]
pub fn tool(words: &[&str]) -> Command {
    let mut command = Command::new(root().join("image/tool"));
    command.args(words);
    command
}
