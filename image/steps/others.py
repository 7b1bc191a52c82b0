"""Programs of others that are run in cages: stress-ng and trinity with their libraries, from pinned packages.

tests/others/packages.toml says which; tests/tests/door/others.rs runs them in place of a program of the toolbox."""

import subprocess

from . import carried, toolbox, tools
from .places import ROOT
from .progress import Refused

FOLDER = ROOT / "tests/others"
PACKAGES = FOLDER / "packages.toml"
ABSENT = FOLDER / "absent.c"
PROGRAMS = ["stress-ng", "trinity"]


def build():
    """A folder that a program's of the toolbox can be laid over: bin and libraries, of which the toolbox's packages hold
    the most."""
    pinned = [*carried.pins(PACKAGES), *toolbox.pins(carried.ARCH).values()]
    recipe = [PACKAGES, ABSENT, toolbox.LOCK, tools.versions("binutils", "gcc-14", "libc6-dev")]
    return carried.build("others", pinned, PROGRAMS, recipe, compile_absent)


def compile_absent(folder):
    """What stands in for what trinity looks for in /dev and /proc."""
    target = folder / "lib/absent.so"
    words = ["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", target, ABSENT]
    environment, words = tools.inside(words, write=[target.parent], read=[FOLDER])
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused("tests/others/absent.c does not compile:\n" + done.stderr[-4000:])
