"""Programs of others that are run in cages: stress-ng and trinity with their libraries, from pinned packages.

tests/others/packages.toml says which; tests/tests/door/others.rs runs them in place of a program of the toolbox."""

import pathlib
import shutil
import subprocess
import tomllib

from . import inputs, toolbox, tools
from .places import ROOT, cache, key
from .progress import Refused, stage

ARCH = "x86_64"
FOLDER = ROOT / "tests/others"
PROGRAMS = ["stress-ng", "trinity"]


def pins():
    """The packages of these programs alone, and the toolbox's, which hold the rest of their libraries."""
    named = tomllib.loads((FOLDER / "packages.toml").read_text())
    own = [{"package": name, "architecture": toolbox.DEBIAN[ARCH], "newest": fields["version"], **fields}
           for name, fields in named.items()]
    return own + list(toolbox.pins(ARCH).values())


def build():
    """A folder that a program's of the toolbox can be laid over: bin and libraries."""
    files = [pathlib.Path(__file__), pathlib.Path(toolbox.__file__), FOLDER / "packages.toml", FOLDER / "absent.c"]
    recipe = key(*files, toolbox.LOCK, tools.versions("binutils", "gcc-14", "libc6-dev"))
    folder = cache() / f"others-{recipe}"
    with stage("others") as outcome:
        if folder.exists():
            outcome("cached")
            return folder
        new, unpacked = folder.with_suffix(".new"), folder.with_suffix(".packages")
        tools.remove(new)
        tools.remove(unpacked)
        for pin in pins():
            inputs.unpack(inputs.fetch_pin(pin)[0], unpacked)
        found = {f"bin/{name}": toolbox.held(unpacked / "usr/bin" / name) for name in PROGRAMS}
        for place, source in {**found, **toolbox.closure(ARCH, unpacked, found.values())}.items():
            (new / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, new / place)
            (new / place).chmod(0o755)
        compile_absent(new / "lib/absent.so")
        tools.remove(unpacked)
        new.rename(folder)
    return folder


def compile_absent(target):
    """What stands in for what trinity looks for in /dev and /proc."""
    words = ["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", target,
             FOLDER / "absent.c"]
    environment, words = tools.inside(words, write=[target.parent], read=[FOLDER])
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused("tests/others/absent.c does not compile:\n" + done.stderr[-4000:])
