//! Files beneath the workspace. Every path is opened by openat2(2) beneath a directory that is opened
//! once, with no link of any kind on the way: what was decided is what is opened.

use super::{Performed, look};
use capabilities::{Accepted, Argument};
use contract::base64;
use contract::digits::hex;
use contract::path::{CanonicalPath, WORKSPACE};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, mkdirat, openat, openat2,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// In the cages of delete and restore alone, the workspace and the trash lie in one mount, so that a
/// name can move between them.
pub(super) const BESIDE_TRASH: &str = "/agent/workspace";
const TRASH: &str = "/agent/trash";
const READ_BYTES_DEFAULT: u64 = 1 << 20;
const COPY_BYTES_MAX: u64 = 16 << 20;
const ENTRIES_MAX: usize = 10_000;
/// Beneath its directory, through no symbolic link and no magic link, within one mount.
const STRICT: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// A place: an open directory, and a name in it.
pub(super) struct Place {
    pub(super) above: OwnedFd,
    pub(super) name: String,
}

impl Place {
    /// The directory and the name.
    pub(super) fn into_parts(self) -> (OwnedFd, String) {
        (self.above, self.name)
    }
}

pub(super) fn read(input: &Accepted) -> Performed {
    let place = place(input, "path")?;
    let file = File::from(open(&place, OFlags::RDONLY, Mode::empty())?);
    let status = file.metadata().map_err(|_error| "failed")?;
    if !status.is_file() {
        return Err("wrong_kind");
    }
    let (offset, length) = (number(input, "offset"), number(input, "length"));
    let whole = length.is_none() && offset.is_none();
    if whole && status.len() > READ_BYTES_DEFAULT {
        return Err("too_large");
    }
    let there = status.len().saturating_sub(offset.unwrap_or(0));
    let length = length.unwrap_or(READ_BYTES_DEFAULT).min(there);
    let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while let Some(room) = content.get_mut(filled..).filter(|room| !room.is_empty()) {
        let at = offset.unwrap_or(0) + u64::try_from(filled).unwrap_or(0);
        match file.read_at(room, at).map_err(|_error| "failed")? {
            0 => break,
            count => filled += count,
        }
    }
    content.truncate(filled);
    let (content, base64) = match String::from_utf8(content) {
        Ok(text) => (text, false),
        Err(bytes) => (base64::write(bytes.as_bytes()), true),
    };
    Ok(json!({ "content": content, "base64": base64, "size": status.len() }))
}

/// The new content is whole on the disk before it takes the name.
pub(super) fn write(input: &Accepted, call: [u8; 16]) -> Performed {
    let place = place(input, "path")?;
    let content = text(input, "content")?;
    let content = match input.get("base64") {
        Some(Argument::Flag(true)) => base64::read(content).ok_or("bad_base64")?,
        _ => content.as_bytes().to_vec(),
    };
    let beside = Place { above: place.above, name: format!(".{}.new", hex(&call)) };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut file = File::from(open(&beside, flags, Mode::from_raw_mode(0o644))?);
    let written = file
        .write_all(&content)
        .and_then(|()| file.sync_all())
        .map_err(|error| code(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
        .and_then(|()| {
            refuse_directory(&beside.above, &place.name)?;
            let (from, to) = (&beside.name, &place.name);
            renameat_with(&beside.above, from, &beside.above, to, RenameFlags::empty())
                .map_err(code)
        });
    if let Err(code) = written {
        unlinkat(&beside.above, &beside.name, AtFlags::empty()).ok();
        return Err(code);
    }
    Ok(json!({ "bytes": content.len() }))
}

pub(super) fn append(input: &Accepted) -> Performed {
    let place = place(input, "path")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK;
    let mut file = File::from(open(&place, flags, Mode::from_raw_mode(0o644))?);
    if !file.metadata().is_ok_and(|status| status.is_file()) {
        return Err("wrong_kind");
    }
    let content = text(input, "content")?;
    let failed = |error: std::io::Error| code(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    file.write_all(content.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(json!({ "size": file.metadata().map_or(0, |status| status.len()) }))
}

pub(super) fn list(input: &Accepted) -> Performed {
    let place = place(input, "path")?;
    let directory = open(&place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&directory).map_err(code)? {
        let name = entry.map_err(code)?.file_name().to_owned();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entries.len() >= ENTRIES_MAX {
            return Err("too_large");
        }
        let status = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(code)?;
        let shown = name.to_string_lossy().into_owned();
        entries.push((shown, kind(FileType::from_raw_mode(status.st_mode)), status.st_size));
    }
    entries.sort();
    let entries: Vec<Json> = entries
        .into_iter()
        .map(|(name, kind, size)| json!({ "name": name, "kind": kind, "size": size }))
        .collect();
    Ok(json!({ "entries": entries }))
}

pub(super) fn stat(input: &Accepted) -> Performed {
    let place = place(input, "path")?;
    let status = statat(&place.above, &place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(code)?;
    let changed =
        i128::from(status.st_mtime) * 1_000_000 + i128::from(status.st_mtime_nsec) / 1_000;
    let named = kind(FileType::from_raw_mode(status.st_mode));
    let changed_us = i64::try_from(changed).unwrap_or(0);
    let mut answer = json!({ "kind": named, "size": status.st_size, "changed_us": changed_us });
    let found = flag(input, "digest").then(|| look::at(&place)).transpose()?;
    if let (Some(found), Some(members)) = (found, answer.as_object_mut()) {
        members.extend(look::members(&found));
    }
    Ok(answer)
}

pub(super) fn mkdir(input: &Accepted) -> Performed {
    let place = place(input, "path")?;
    mkdirat(&place.above, &place.name, Mode::from_raw_mode(0o755)).map_err(code)?;
    Ok(json!({}))
}

pub(super) fn rename(input: &Accepted) -> Performed {
    let (from, to) = (place(input, "from")?, place(input, "to")?);
    refuse_directory(&from.above, &from.name)?;
    renameat_with(&from.above, &from.name, &to.above, &to.name, RenameFlags::NOREPLACE)
        .map_err(code)?;
    Ok(json!({}))
}

pub(super) fn copy(input: &Accepted) -> Performed {
    let (from, to) = (place(input, "from")?, place(input, "to")?);
    let source = File::from(open(&from, OFlags::RDONLY, Mode::empty())?);
    let status = source.metadata().map_err(|_error| "failed")?;
    if !status.is_file() {
        return Err("wrong_kind");
    }
    if status.len() > COPY_BYTES_MAX {
        return Err("too_large");
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut target = File::from(open(&to, flags, Mode::from_raw_mode(0o644))?);
    let mut content = Vec::new();
    let copied = source
        .take(COPY_BYTES_MAX)
        .read_to_end(&mut content)
        .and_then(|_| target.write_all(&content))
        .and_then(|()| target.sync_all());
    if let Err(error) = copied {
        unlinkat(&to.above, &to.name, AtFlags::empty()).ok();
        return Err(code(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
    }
    Ok(json!({ "bytes": content.len() }))
}

/// Into the trash, under the number of this call.
pub(super) fn delete(input: &Accepted, call: [u8; 16]) -> Performed {
    let place = place_in(BESIDE_TRASH, input, "path")?;
    if place.name == "." {
        return Err("wrong_kind");
    }
    refuse_full_directory(&place)?;
    let name = hex(&call);
    let trash = directory(TRASH)?;
    renameat_with(&place.above, &place.name, &trash, &name, RenameFlags::NOREPLACE)
        .map_err(code)?;
    Ok(json!({ "call": name }))
}

/// Out of the trash, to where the caller says that it was.
pub(super) fn restore(input: &Accepted) -> Performed {
    let place = place_in(BESIDE_TRASH, input, "path")?;
    let Some(Argument::Call(call)) = input.get("call") else { return Err("bad_input") };
    let trash = directory(TRASH)?;
    let flags = RenameFlags::NOREPLACE;
    renameat_with(&trash, hex(call), &place.above, &place.name, flags).map_err(code)?;
    Ok(json!({}))
}

/// Opens the directory above a path argument; the path's last name is not touched.
pub(super) fn place(input: &Accepted, parameter: &str) -> Result<Place, &'static str> {
    place_in(WORKSPACE, input, parameter)
}

/// The same, where the workspace is mounted at `root`.
fn place_in(root: &str, input: &Accepted, parameter: &str) -> Result<Place, &'static str> {
    let Some(Argument::Path(path)) = input.get(parameter) else { return Err("bad_input") };
    place_of(root, path)
}

/// The same of a path.
pub(super) fn place_of(root: &str, path: &CanonicalPath) -> Result<Place, &'static str> {
    // what lies outside is looked for from the cage's root, where there is nothing of the box
    let (root, rest) = match beneath(path) {
        Some(rest) => (root, rest),
        None => ("/", path.as_str().trim_start_matches('/')),
    };
    let root = directory(root)?;
    let (above, name) = rest.rsplit_once('/').unwrap_or(("", rest));
    if name.is_empty() {
        return Ok(Place { above: root, name: ".".to_owned() });
    }
    let name = name.to_owned();
    if above.is_empty() {
        return Ok(Place { above: root, name });
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = openat2(&root, above, flags, Mode::empty(), STRICT).map_err(code)?;
    Ok(Place { above, name })
}

/// The part of a path below the workspace; empty for the workspace itself.
pub(super) fn beneath(path: &CanonicalPath) -> Option<&str> {
    let rest = path.as_str().strip_prefix(WORKSPACE)?;
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
}

fn directory(path: &str) -> Result<OwnedFd, &'static str> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(code)
}

pub(super) fn open(place: &Place, flags: OFlags, mode: Mode) -> Result<OwnedFd, &'static str> {
    beneath_strictly(&place.above, place.name.as_bytes(), flags, mode).map_err(code)
}

/// Opens a path beneath a directory, through no link; what waits for a peer is not waited for.
pub(super) fn beneath_strictly(
    above: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    // openat2(2) takes no flag that means nothing: a path alone is opened without waiting
    let wait = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
    openat2(above, path, flags | wait | OFlags::CLOEXEC | OFlags::NOFOLLOW, mode, STRICT)
}

/// A file takes no directory's name, and a region is not moved by a call that was decided for one
/// path.
fn refuse_directory(above: &OwnedFd, name: &str) -> Result<(), &'static str> {
    match statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::Directory => {
            Err("wrong_kind")
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(code(errno)),
    }
}

/// A directory is deleted only when nothing is in it.
fn refuse_full_directory(place: &Place) -> Result<(), &'static str> {
    let status = statat(&place.above, &place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(code)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Directory {
        return Ok(());
    }
    let directory = open(place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let names = Dir::read_from(&directory).map_err(code)?;
    let is_entry = |name: &[u8]| !matches!(name, b"." | b"..");
    let full = names.flatten().any(|entry| is_entry(entry.file_name().to_bytes()));
    if full { Err("not_empty") } else { Ok(()) }
}

/// What a refusal of the kernel is called in the catalogue.
pub(super) fn code(errno: Errno) -> &'static str {
    match errno {
        Errno::NOENT => "not_found",
        Errno::EXIST => "exists",
        Errno::LOOP | Errno::MLINK => "link",
        Errno::ISDIR | Errno::NOTDIR | Errno::NXIO | Errno::INVAL => "wrong_kind",
        Errno::NOTEMPTY => "not_empty",
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => "no_space",
        Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::ROFS => "denied",
        _ => "failed",
    }
}

pub(super) const fn kind(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "link",
        _ => "other",
    }
}

pub(super) fn flag(input: &Accepted, parameter: &str) -> bool {
    matches!(input.get(parameter), Some(Argument::Flag(true)))
}

pub(super) fn number(input: &Accepted, parameter: &str) -> Option<u64> {
    match input.get(parameter) {
        Some(Argument::Number(number)) => Some(*number),
        _ => None,
    }
}

pub(super) fn text<'a>(input: &'a Accepted, parameter: &str) -> Result<&'a str, &'static str> {
    match input.get(parameter) {
        Some(Argument::Text(text)) => Ok(text),
        _ => Err("bad_input"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_a_whole_segment() {
        let rest = |path| beneath(&CanonicalPath::parse(path).unwrap()).map(str::to_owned);
        assert_eq!(rest("/workspace").as_deref(), Some(""));
        assert_eq!(rest("a/b").as_deref(), Some("a/b"));
        assert_eq!(rest("/workspaces/a"), None);
        assert_eq!(rest("/etc/passwd"), None);
    }
}
