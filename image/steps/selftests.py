"""The kernel's own selftests, from the source that our kernel is built from, and a disk to run them from.

tests/selftests/programs.toml says which; tests/probe/src/selftests/main.rs is PID 1 of that disk."""

import os
import pathlib
import shutil
import subprocess
import tomllib
from dataclasses import dataclass

from . import carried, disk, inputs, kernel, programs, tools
from .places import BUILD, ROOT, cache, key
from .progress import Refused, stage

FOLDER = ROOT / "tests/selftests"
SELFTESTS = "tools/testing/selftests"
# as lib.mk of the selftests has it, and static, since the disk has no library; their warnings are not ours. Not
# optimised, as most of their Makefiles have it: some touch memory for nobody to read
FLAGS = ["-static", "-s", "-w", "-pthread", "-D_GNU_SOURCE="]
MOUNT_POINTS = ["bin", "dev", "mnt", "proc", "run", "sys", "tmp", "var", "work"]
# what a program may ask of a shell, and of /bin: PID 1 under another name
NAMES = ["sh", "sleep"]
# what scripts run, from the packages of tools.toml; in one folder, as they have no PATH
TOOLS = ["bash", "conntrack", "date", "dirname", "grep", "ip", "kill", "mktemp", "nft", "ping", "ping6", "readlink",
         "sleep", "sysctl", "taskset", "timeout", "xargs"]
LINKS = {"bin/bash": "../usr/bin/bash", "lib64": "usr/lib64", "var/run": "../run"}
SECONDS_MAX = 120
# the memory of the machine is 1 GiB, and what the tests of memory cgroups write is a tenth of it
DISK_BYTES = 1 << 30


@dataclass
class Program:
    """A program to compile: where it stands below the selftests, its sources and libraries, what is replaced in
    the first source, and its bound in seconds if it is run by itself."""

    place: str
    sources: list
    libraries: list
    instead: dict
    seconds_max: int | None


def listed():
    """Every program of programs.toml."""
    for folder, of in tomllib.loads((FOLDER / "programs.toml").read_text()).items():
        more = [f"{folder}/{source}" for source in of.get("sources", [])]
        seconds = of.get("seconds_max", SECONDS_MAX)
        bounds = {**dict.fromkeys(of["programs"], seconds), **dict.fromkeys(of.get("beside", []))}
        for name, bound in bounds.items():
            yield Program(f"{folder}/{name}", [f"{folder}/{name}.c", *more], of.get("libraries", []),
                          of.get("instead", {}), bound)


def scripts():
    """Every script of programs.toml with its bound in seconds; what they include has none."""
    for folder, of in tomllib.loads((FOLDER / "programs.toml").read_text()).items():
        for name in of.get("scripts", []):
            yield f"{folder}/{name}", of.get("seconds_max", SECONDS_MAX)
        for name in of.get("included", []):
            yield os.path.normpath(f"{folder}/{name}"), None


def compiled():
    """The folder of the programs, scripts and their list, from cache if nothing of it changed."""
    deb, _ = inputs.fetch("kernel")
    pins = tomllib.loads((FOLDER / "packages.toml").read_text())
    libraries = {name: inputs.fetch_pin(pin)[0] for name, pin in pins.items()}
    recipe = key(deb.stem, str(sorted(file.stem for file in libraries.values())), pathlib.Path(__file__),
                 FOLDER / "programs.toml", FOLDER / "lines.c", tools.versions("binutils", "gcc-14", "libc6-dev"))
    folder = cache() / f"selftests-{recipe}"
    with stage("selftests") as outcome:
        if folder.exists():
            outcome("cached")
            return folder
        new, work = folder.with_suffix(".new"), folder.with_suffix(".work")
        tools.remove(new)
        tools.remove(work)
        for file in libraries.values():
            inputs.unpack(file, work / "packages")
        # what the programs call is what this source offers, not what the tools tree's headers say
        kernel.make("x86_64", work, ["headers_install", f"INSTALL_HDR_PATH={work / 'kernel'}"])
        compile_all(new, work)
        for place, _ in scripts():
            disk.copy(kernel.source() / SELFTESTS / place, new / place, 0o755)
        bounds = [*((program.place, program.seconds_max) for program in listed()), *scripts()]
        (new / "list").write_text("".join(f"{place} {bound}\n" for place, bound in bounds if bound))
        tools.remove(work)
        new.rename(folder)
    return folder


def compile_all(folder, work):
    """Each program by one call of the compiler, as many at once as there are processors."""
    tree = kernel.source() / SELFTESTS
    seen = ["-I", ".", "-isystem", work / "kernel/include", "-isystem", work / "packages/usr/include",
            "-L", work / "packages/usr/lib/x86_64-linux-gnu"]
    if missing := unused(listed(), tree):
        raise Refused(f"tests/selftests/programs.toml replaces {missing[0]}, which no program of its folder says")
    lines = []
    for program in listed():
        target = folder / program.place
        target.parent.mkdir(parents=True, exist_ok=True)
        sources = [replaced(program, tree, work), *program.sources[1:], FOLDER / "lines.c"]
        beside = ["-I", pathlib.Path(program.place).parent]
        words = [*FLAGS, *beside, *seen, "-o", target, *sources, *(f"-l{library}" for library in program.libraries)]
        lines.append(" ".join(map(os.fspath, words)) + "\n")
    (work / "lines").write_text("".join(lines))
    script = ["xargs", "-a", work / "lines", "-L", "1", "-P", str(os.cpu_count()), "gcc"]
    # from the sources' own folder, so that no path of this machine is in a message
    environment, words = tools.inside(script, write=[folder, work], read=[tree, FOLDER], cwd=tree)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused("the selftests do not compile:\n" + done.stderr[-4000:])


def replaced(program, tree, work):
    """The first source, or a copy in which what `instead` says was replaced."""
    first = program.sources[0]
    text = (tree / first).read_text()
    if not any(old in text for old in program.instead):
        return first
    # a copy stands in another folder; what it includes is found from the selftests' own
    for old, new in {**program.instead, '#include "../': '#include "'}.items():
        text = text.replace(old, new)
    disk.write(work / first, text)
    return work / first


def unused(programs, tree):
    """What `instead` names and no program holds: a test that was changed needs another look."""
    texts = {}
    for program in programs:
        for old in program.instead:
            texts[old] = texts.get(old, "") + (tree / program.sources[0]).read_text()
    return [old for old, text in texts.items() if old not in text]


def build(output=BUILD, target_dir=None):
    """The disk of the selftests and our kernel beside it; returns the disk's path."""
    tools.tree()
    built_kernel = kernel.build("x86_64")
    # with every program of a test image, so that cargo finds what those images' builds left
    binaries = programs.build("x86_64", target_dir, test="selftests")
    made = compiled()
    listed = FOLDER / "tools.toml"
    # what scripts run, with its libraries
    usr = carried.build("selftests-tools", carried.pins(listed), TOOLS, [listed, " ".join(TOOLS)])
    output = pathlib.Path(output)
    work, image = output / "work-selftests", output / "selftests.raw"
    tools.remove(work)
    with stage("image selftests"):
        for name in MOUNT_POINTS:
            (work / name).mkdir(parents=True)
        shutil.copytree(made, work / "selftests")
        shutil.copytree(usr, work / "usr")
        disk.copy(binaries / "selftests", work / "init", 0o755)
        disk.write(work / "etc/hosts", "127.0.0.1 localhost\n")
        # nft knows groups of devices by the names that stand there
        disk.write(work / "etc/iproute2/group", "0 default\n")
        for name in NAMES:
            (work / "bin" / name).symlink_to("/init")
        for place, target in LINKS.items():
            (work / place).symlink_to(target)
        with open(image, "wb") as out:
            out.truncate(DISK_BYTES)
        environment, words = tools.inside(["mkfs.ext4", "-q", "-E", "root_owner=0:0", "-d", work, image], write=[output])
        subprocess.run(words, env=environment, check=True)
        disk.copy(built_kernel.image, image.with_suffix(".kernel"))
        tools.remove(work)
    return image
