"""Programs of Debian's packages with their libraries, for disks of the tests alone: a folder that stands for /usr."""

import pathlib
import shutil
import tomllib

from . import inputs, toolbox, tools
from .places import cache, key
from .progress import Refused, stage

ARCH = "x86_64"


def pins(listed):
    """The packages of a list, each with its version and digest."""
    named = tomllib.loads(listed.read_text())
    return [{"package": name, "architecture": toolbox.DEBIAN[ARCH], "newest": fields["version"], **fields}
            for name, fields in named.items()]


def build(name, pinned, programs, recipe, complete=None):
    """The folder, from cache if nothing of `recipe`, the texts and files that it comes from, changed; `complete` adds
    to it what comes from no package."""
    recipe = key(*recipe, pathlib.Path(__file__), pathlib.Path(toolbox.__file__))
    folder = cache() / f"{name}-{recipe}"
    with stage(name.replace("-", " ")) as outcome:
        if folder.exists():
            outcome("cached")
            return folder
        new, packages = folder.with_suffix(".new"), folder.with_suffix(".packages")
        tools.remove(new)
        tools.remove(packages)
        for pin in pinned:
            inputs.unpack(inputs.fetch_pin(pin)[0], packages)
        found = {f"bin/{program}": held(packages / "usr", program) for program in programs}
        for place, source in {**found, **toolbox.closure(ARCH, packages, found.values())}.items():
            (new / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, new / place)
            (new / place).chmod(0o755)
        if complete:
            complete(new)
        tools.remove(packages)
        new.rename(folder)
    return folder


def held(usr, program):
    """The file of a program, wherever its package has it."""
    for place in ("bin", "sbin"):
        if (usr / place / program).exists():
            return (usr / place / program).resolve()
    raise Refused(f"no package holds {program}")
