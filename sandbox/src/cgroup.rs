//! Ring two: the cgroup of one slot (cgroups(7), the kernel's cgroup-v2.rst). Its limits are written
//! before anybody is in it, and what was used is read from it at the end.

use crate::error::CageError;
use crate::rings::{Ring, Rings};
use contract::perform::Limits;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

const CGROUPS: &str = "/sys/fs/cgroup/cages";
/// Read and write rate of one cage on the disk.
const IO_BYTES_PER_SECOND: u64 = 64 << 20;
/// Longest of the files that are read.
const FILE_BYTES_MAX: usize = 4_096;

/// A slot's cgroup.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: String,
    limited: bool,
    open: Open,
}

/// What is asked for at the end of a call, opened before: opening it is in the way of an answer.
#[derive(Debug, Default)]
struct Open {
    killer: Option<File>,
    peak: Option<File>,
    processor: Option<File>,
    pressure: Option<File>,
    events: Option<File>,
}

/// What a cage used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) memory_peak_bytes: u64,
    pub(crate) cpu_us: u64,
    pub(crate) throttled_us: u64,
    pub(crate) memory_stall_us: u64,
    pub(crate) ran_out_of_memory: bool,
}

impl Cgroup {
    /// Makes the slot's cgroup with the standard limits; `disk` is what [`data_disk`] says.
    pub(crate) fn make(slot: u32, rings: &Rings, disk: Option<&str>) -> Result<Self, CageError> {
        let path = path_of(slot);
        std::fs::create_dir(&path).map_err(|e| CageError::File("make cgroup", path.clone(), e))?;
        let limited = rings.have(Ring::Cgroup);
        let made = Self { path, limited, open: Open::default() };
        made.limit(disk).inspect_err(|_| {
            made.remove();
        })?;
        Ok(made)
    }

    fn limit(&self, disk: Option<&str>) -> Result<(), CageError> {
        self.write("memory.oom.group", "1")?;
        if let Some(disk) = disk {
            let rates = format!("rbps={IO_BYTES_PER_SECOND} wbps={IO_BYTES_PER_SECOND}");
            self.write("io.max", &format!("{disk} {rates}"))?;
        }
        Limits::STANDARD.files().into_iter().try_for_each(|(file, value)| self.write(file, &value))
    }

    /// Opens what will be asked for at the end of a call.
    pub(crate) fn open(&mut self) {
        let path = |file: &str| format!("{}/{file}", self.path);
        let read = |file: &str| File::open(path(file)).ok();
        self.open = Open {
            killer: File::options().write(true).open(path("cgroup.kill")).ok(),
            peak: read("memory.peak"),
            processor: read("cpu.stat"),
            pressure: read("memory.pressure"),
            events: read("memory.events"),
        };
    }

    /// Sets those limits of a call that are not the standard ones.
    pub(crate) fn set(&self, limits: &Limits) -> Result<(), CageError> {
        for (wanted, standard) in limits.files().into_iter().zip(Limits::STANDARD.files()) {
            if wanted != standard {
                self.write(wanted.0, &wanted.1)?;
            }
        }
        Ok(())
    }

    /// Has it run only while nobody else wants the processor (cgroup-v2.rst, cpu.idle).
    pub(crate) fn yield_processor(&self) -> Result<(), CageError> {
        self.write("cpu.idle", "1")
    }

    fn write(&self, file: &str, value: &str) -> Result<(), CageError> {
        let file = format!("{}/{file}", self.path);
        // a host's cgroups need not have every controller; `krux dev` names those that it lacks
        let lacks = cfg!(feature = "development") && !std::path::Path::new(&file).exists();
        if lacks || !self.limited {
            return Ok(());
        }
        std::fs::write(&file, value).map_err(|error| CageError::File("limit", file, error))
    }

    /// The directory, for a process to be born into.
    pub(crate) fn directory(&self) -> Result<File, CageError> {
        File::open(&self.path).map_err(|e| CageError::File("open", self.path.clone(), e))
    }

    /// Kills every process in it.
    pub(crate) fn kill(&self) {
        let killed = self.open.killer.as_ref().map(|mut killer| killer.write_all(b"1"));
        if !matches!(killed, Some(Ok(()))) {
            std::fs::write(format!("{}/cgroup.kill", self.path), "1").ok();
        }
    }

    /// What its processes used.
    pub(crate) fn usage(&self) -> Usage {
        let processor = text(self.open.processor.as_ref());
        Usage {
            memory_peak_bytes: number(&text(self.open.peak.as_ref()), ""),
            cpu_us: number(&processor, "usage_usec "),
            throttled_us: number(&processor, "throttled_usec "),
            memory_stall_us: number(&text(self.open.pressure.as_ref()), "some "),
            ran_out_of_memory: number(&text(self.open.events.as_ref()), "oom_kill ") > 0,
        }
    }

    /// Takes it away; false while something is in it.
    pub(crate) fn remove(&self) -> bool {
        is_removed(&self.path)
    }
}

/// A limit's file and its value.
trait Files {
    fn files(&self) -> [(&'static str, String); 3];
}

impl Files for Limits {
    fn files(&self) -> [(&'static str, String); 3] {
        [
            ("memory.max", self.memory_bytes.to_string()),
            ("pids.max", self.tasks.to_string()),
            ("cpu.max", format!("{} 100000", self.cpu_us)),
        ]
    }
}

/// What a file says now; nothing of one that could not be opened or read.
fn text(file: Option<&File>) -> String {
    let mut bytes = [0; FILE_BYTES_MAX];
    let count = file.and_then(|file| file.read_at(&mut bytes, 0).ok()).unwrap_or(0);
    String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()).into_owned()
}

/// The number of the line of this name.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    // of a line of several fields (memory.pressure) the last one is the total
    let number = line.and_then(|line| line.rsplit(['=', ' ']).next());
    number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Takes away what an earlier forker left under this number; false while something is in it.
pub(crate) fn is_free(slot: u32) -> bool {
    is_removed(&path_of(slot))
}

fn path_of(slot: u32) -> String {
    format!("{CGROUPS}/slot-{slot}")
}

/// Removes a cgroup; false while something is in it.
fn is_removed(path: &str) -> bool {
    let removed = std::fs::remove_dir(path);
    removed.map_or_else(|error| error.kind() == ErrorKind::NotFound, |()| true)
}

/// Device number of the disk that DATA is on, since io.max takes whole disks; in development none, where
/// DATA is a directory of the host's.
pub(crate) fn data_disk() -> Result<Option<String>, CageError> {
    if cfg!(feature = "development") {
        return Ok(None);
    }
    let failed = |error| CageError::File("find the disk of", "/data".to_owned(), error);
    let device = std::fs::metadata("/data").map_err(failed)?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let disk = format!("/sys/dev/block/{major}:{minor}/../dev");
    Ok(Some(std::fs::read_to_string(disk).map_err(failed)?.trim().to_owned()))
}
