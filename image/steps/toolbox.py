"""The toolbox: programs with their libraries, from pinned packages, as one verified file system.

A program's folder is what its cage sees as /usr: itself in bin/, its interpreter and its libraries where
they look for each other, and nothing else. Folders share files by hard links."""

import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass

from . import inputs, tools
from .places import IMAGE, cache, key
from .progress import Refused, stage

LOCK = IMAGE / "toolbox.lock"
DEBIAN = {"x86_64": "amd64", "aarch64": "arm64"}
TRIPLET = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
# fixed, so that the same packages give the same root hash
FILESYSTEM_UUID = "3b1f6a52-7c04-4f0e-9d7e-6f2f3d9c1a10"
VERITY_UUID = "f2c4b5de-0d0a-4b38-8b1f-5a9c27f3c911"
SALT = "6b72786f7320746f6f6c626f78000000000000000000000000000000000000ff"
HEADER = ("# Packages of the toolbox; image/toolbox --pin writes this. A version that is not to be had any more is\n"
          "# replaced by the newest, which the build says.\n")


@dataclass
class Toolbox:
    """What was built: the tree, its file system, the tree of hashes over it, the root of those."""

    tree: pathlib.Path
    data: pathlib.Path
    hashes: pathlib.Path
    root: str


def programs():
    return tomllib.loads((IMAGE / "toolbox.toml").read_text())


def packages():
    wanted = programs()
    opened = [program["package"] for program in wanted["open"].values()]
    return sorted({*wanted["programs"].values(), *opened, *wanted["libraries"]["packages"]})


def pin():
    """Write the lock for the newest packages of stable."""
    options = [*inputs.private_apt(), "-o", f"APT::Default-Release={inputs.STABLE}"]
    text = HEADER
    for architecture in DEBIAN.values():
        for package in packages():
            table = subprocess.run(["apt-cache", *options, "madison", f"{package}:{architecture}"],
                                   capture_output=True, text=True, check=False).stdout
            rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if "|" in line]
            rows = [row for row in rows if f" {inputs.STABLE}" in row[2]]
            if not rows:
                raise Refused(f"{package}:{architecture} is not in {inputs.STABLE}")
            version = rows[0][1]
            shown = subprocess.run(["apt-cache", *options, "show", f"{package}:{architecture}={version}"],
                                   capture_output=True, text=True, check=True).stdout
            digest = re.search(r"^SHA256: ([0-9a-f]{64})$", shown, re.MULTILINE).group(1)
            text += f'\n[{architecture}."{package}"]\nversion = "{version}"\nsha256 = "{digest}"\n'
    LOCK.write_text(text)


def pins(arch):
    locked = tomllib.loads(LOCK.read_text())[DEBIAN[arch]]
    if missing := set(packages()) - set(locked):
        raise Refused(f"image/toolbox.lock lacks {', '.join(sorted(missing))}; run image/toolbox --pin")
    return {name: {"package": name, "architecture": DEBIAN[arch], "newest": fields["version"], **fields}
            for name, fields in locked.items() if name in packages()}


def build(arch):
    """The toolbox of an architecture, built if it is not cached."""
    recipe = key(arch, LOCK, IMAGE / "toolbox.toml", pathlib.Path(__file__),
                 tools.versions("erofs-utils", "cryptsetup-bin"))
    folder = cache() / f"toolbox-{recipe}"
    with stage(f"toolbox {arch}") as outcome:
        if (folder / "root").exists():
            outcome("cached")
        else:
            new = folder.with_suffix(".new")
            tools.remove(new)
            tools.remove(folder)
            lay_out(arch, new)
            seal(new)
            new.rename(folder)
        root = (folder / "root").read_text().strip()
        return Toolbox(folder / "tree", folder / "data", folder / "hashes", root)


def lay_out(arch, folder):
    """Unpack the packages and give each program its folder."""
    unpacked, tree = folder / "packages", folder / "tree"
    for pinned in pins(arch).values():
        deb, _ = inputs.fetch_pin(pinned)
        inputs.unpack(deb, unpacked)
    manifest = {}
    for program, package, files in folders(arch, unpacked):
        for place, source in files.items():
            target = tree / program / place
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
        manifest[program] = {"package": package, "files": sorted(files)}
    (tree / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    # modes are those of a tree that nobody writes, whatever the umask here
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.name != "manifest.json" else 0o644)


def folders(arch, unpacked):
    """Each program with its package and its files: their places beneath /usr, and where they are."""
    described = programs()
    for program, package in sorted(described["programs"].items()):
        found = held(unpacked / "usr/bin" / program)
        yield program, package, {f"bin/{program}": found, **closure(arch, unpacked, [found])}
    for program, opened in sorted(described["open"].items()):
        found = held(unpacked / "usr/bin" / opened["program"])
        files = {f"bin/{program}": found}
        for tree in opened["trees"]:
            files |= {place: file for place, file in beneath(unpacked / "usr", tree)
                      if not any(fnmatch.fnmatch(place, pattern) for pattern in opened["without"])}
        objects = [found, *(file for file in files.values() if ".so" in file.suffixes)]
        yield program, opened["package"], {**files, **closure(arch, unpacked, objects)}


def held(program):
    if not program.exists():
        raise Refused(f"no package of the toolbox holds {program.name}")
    return program.resolve()


def beneath(root, tree):
    """Every file of a tree that has content, links within it included: its place and where it is."""
    for path in sorted((root / tree).rglob("*")):
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            yield str(path.relative_to(root)), path.resolve()


def closure(arch, unpacked, wanted):
    """What programs and libraries need besides themselves: places beneath /usr, and where those files are."""
    files, wanted, known = {}, list(wanted), set()
    while wanted:
        described = describe(wanted.pop())
        for interpreter in re.findall(r"program interpreter: (\S+)\]", described):
            files[interpreter.lstrip("/")] = find(arch, unpacked, pathlib.Path(interpreter).name)
        for library in re.findall(r"\(NEEDED\)\s+Shared library: \[(\S+)\]", described):
            if library not in known:
                known.add(library)
                found = find(arch, unpacked, library)
                files.setdefault(f"lib/{TRIPLET[arch]}/{library}", found)
                wanted.append(found)
    return files


def describe(file):
    environment, command = tools.inside(["readelf", "-ld", "--wide", file], read=[file.parent])
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def find(arch, unpacked, name):
    for place in (f"usr/lib/{TRIPLET[arch]}", "usr/lib", "usr/lib64", f"lib/{TRIPLET[arch]}"):
        if (unpacked / place / name).exists():
            return (unpacked / place / name).resolve()
    raise Refused(f"no package of the toolbox holds {name}; add its package to image/toolbox.toml")


def seal(folder):
    """The tree as a file system, and the hashes over it."""
    run = ["mkfs.erofs", "-zzstd,19", "-T0", "--all-root", f"-U{FILESYSTEM_UUID}", "--quiet",
           folder / "data", folder / "tree"]
    environment, command = tools.inside(run, write=[folder])
    subprocess.run(command, env=environment, check=True, capture_output=True)
    run = ["veritysetup", "format", f"--uuid={VERITY_UUID}", f"--salt={SALT}", folder / "data", folder / "hashes"]
    environment, command = tools.inside(run, write=[folder])
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    root = re.search(r"Root hash:\s+([0-9a-f]{64})", done.stdout)
    if not root:
        raise Refused("veritysetup named no root hash:\n" + done.stdout)
    shutil.rmtree(folder / "packages")
    (folder / "root").write_text(root.group(1) + "\n")
