//! Tells the loader that this boot is good: the counter leaves the name of the unified kernel image
//! (systemd.io/AUTOMATIC_BOOT_ASSESSMENT). A machine that was not counted, because it was started
//! without the loader, has nothing to bless.

use crate::console;
use crate::disk;
use crate::error::{BootError, While};
use crate::guid;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::File;
use std::path::{Path, PathBuf};

const COUNTED: &str = "/sys/firmware/efi/efivars/\
                       LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
const ESP: &str = "/run/esp";
const PATH_BYTES_MAX: usize = 1024;

/// Renames the entry that was started, so that the loader counts it no more.
pub(crate) fn bless() -> Result<(), BootError> {
    let Ok(variable) = std::fs::read(COUNTED) else {
        console::note("this boot was not counted by a loader");
        return Ok(());
    };
    let counted = loader_path(&variable)
        .ok_or_else(|| BootError::new("read", "LoaderBootCountPath", "no path within the ESP"))?;
    let disk = disk::of_the_root()?;
    let esp = disk.table.only(guid::ESP);
    let esp = esp.ok_or_else(|| BootError::new("find", "the ESP", "not exactly one"))?;
    std::fs::create_dir_all(ESP).during("make directory", ESP)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(disk.partition(esp).path, ESP, "vfat", flags, None).during("mount", "the ESP")?;
    let outcome = rename(&Path::new(ESP).join(counted));
    unmount(ESP, UnmountFlags::empty()).during("unmount", "the ESP")?;
    outcome
}

fn rename(counted: &Path) -> Result<(), BootError> {
    let name = counted.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(blessed) = without_counter(name) else {
        return Err(BootError::new("bless", name, "its name has no counter"));
    };
    if !counted.exists() && counted.with_file_name(&blessed).exists() {
        return Ok(()); // init was restarted by nobody, but a rename that was cut may have held
    }
    let target = counted.with_file_name(&blessed);
    if target.exists() {
        std::fs::remove_file(&target).during("remove twin", &blessed)?;
    }
    renameat_with(CWD, counted, CWD, &target, RenameFlags::NOREPLACE).during("rename", name)?;
    let directory = target.parent().unwrap_or(Path::new(ESP));
    for path in [target.as_path(), directory] {
        let file = File::open(path).during("open", path.display())?;
        file.sync_all().during("flush", path.display())?;
    }
    console::note(&format!("blessed {blessed}"));
    Ok(())
}

/// The path in the variable: four bytes of attributes, then UTF-16 with backslashes.
fn loader_path(variable: &[u8]) -> Option<PathBuf> {
    let text = variable.get(4..).filter(|text| text.len() <= PATH_BYTES_MAX)?;
    let units: Vec<u16> = text
        .chunks_exact(2)
        .map(|pair| {
            u16::from_le_bytes([
                pair.first().copied().unwrap_or(0),
                pair.last().copied().unwrap_or(0),
            ])
        })
        .take_while(|unit| *unit != 0)
        .collect();
    let path = String::from_utf16(&units).ok()?.replace('\\', "/");
    let path = path.trim_start_matches('/');
    let inside = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    inside.then(|| PathBuf::from(path))
}

/// `name+2-1.efi` becomes `name.efi`; `None` without a counter.
fn without_counter(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".efi")?;
    let (stem, counter) = stem.rsplit_once('+')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let good = match counter.split_once('-') {
        Some((left, done)) => digits(left) && digits(done),
        None => digits(counter),
    };
    good.then(|| format!("{stem}.efi"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_counter_is_taken_off() {
        for (name, blessed) in [
            ("kruxos_1.efi", None),
            ("kruxos_1+3.efi", Some("kruxos_1.efi")),
            ("kruxos_1+2-1.efi", Some("kruxos_1.efi")),
            ("kruxos_1+x.efi", None),
            ("kruxos_1+2-.efi", None),
            ("+3", None),
        ] {
            assert_eq!(without_counter(name).as_deref(), blessed, "{name}");
        }
    }

    #[test]
    fn a_path_stays_in_the_esp() {
        let variable = |path: &str| {
            let mut bytes = vec![6, 0, 0, 0];
            bytes.extend(path.encode_utf16().flat_map(u16::to_le_bytes));
            bytes
        };
        let good = loader_path(&variable("\\EFI\\Linux\\kruxos+2-1.efi\0"));
        assert_eq!(good, Some(PathBuf::from("EFI/Linux/kruxos+2-1.efi")));
        for bad in ["", "\\", "\\..\\x", "\\EFI\\\\x", "\\EFI\\.\\x"] {
            assert_eq!(loader_path(&variable(bad)), None, "{bad}");
        }
    }
}
