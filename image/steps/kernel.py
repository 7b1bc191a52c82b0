"""The kernel: fragments to configuration, every line checked to survive, then the build."""

import os
import pathlib
import re
import subprocess

from . import inputs, tools
from .places import IMAGE, cache, key, sha256
from .progress import Refused, stage

FOLDER = IMAGE / "kernel"
FRAGMENTS = {
    "x86_64": ["base", "x86_64", "hardware-x86_64", "rings", "hardening", "hardening-x86_64"],
    "aarch64": ["base", "aarch64", "errata-aarch64", "rings", "hardening", "hardening-aarch64"],
}
MAKE = {
    "x86_64": (["ARCH=x86"], "bzImage", "arch/x86/boot/bzImage"),
    "aarch64": (["ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"], "Image.gz", "arch/arm64/boot/Image"),
}
COMPILERS = {"x86_64": ["binutils", "gcc-14"], "aarch64": ["binutils-aarch64-linux-gnu", "gcc-14-aarch64-linux-gnu"]}
REPRODUCIBLE = ["KBUILD_BUILD_TIMESTAMP=@1700000000", "KBUILD_BUILD_USER=kruxos",
                "KBUILD_BUILD_HOST=kruxos", "KBUILD_BUILD_VERSION=1"]


class Kernel:
    """A built kernel: `image`, `config`, `release`, and `digest`, the SHA-256 of its /proc/config.gz."""

    def __init__(self, folder):
        self.image = folder / "kernel"
        self.config = folder / "config"
        self.release = (folder / "release").read_text().strip()
        self.digest = (folder / "config.sha256").read_text().strip()


def requested(arch, extra=()):
    """The lines that the fragments ask for, in order; a line of `extra` replaces an earlier one."""
    lines = {}
    texts = [(FOLDER / f"{name}.config").read_text() for name in FRAGMENTS[arch]]
    for text in [*texts, *extra]:
        for line in text.splitlines():
            if match := re.fullmatch(r"(CONFIG_\w+)=(.+)", line):
                lines[match[1]] = match[2]
            elif line and not line.startswith("#"):
                raise Refused(f"image/kernel: `{line}` is no CONFIG_NAME=value and no comment")
    return lines


def lost(wanted, config):
    """Lines that the final configuration does not hold."""
    final = dict(line.split("=", 1) for line in config.splitlines() if line.startswith("CONFIG_"))
    return [f"{name}={value}, is {final.get(name, 'n')}" for name, value in wanted.items()
            if final.get(name, "n") != value]


def source():
    """The unpacked source, from the pinned package."""
    deb, _ = inputs.fetch("kernel")
    folder = cache() / f"kernel-source-{deb.stem[:20]}"
    if not (folder / "tree").exists():
        inputs.unpack(deb, folder / "deb")
        archive = next((folder / "deb/usr/src").glob("linux-source-*.tar.xz"))
        (folder / "new").mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "-xf", archive, "-C", folder / "new", "--strip-components=1"], check=True)
        (folder / "new").rename(folder / "tree")
        tools.remove(folder / "deb")
    return folder / "tree"


def configure(arch, objects, extra=()):
    """Write the configuration into `objects`; refuse one in which a requested line is lost."""
    wanted = requested(arch, extra)
    objects.mkdir(parents=True, exist_ok=True)
    (objects / "wanted").write_text("".join(f"{name}={value}\n" for name, value in wanted.items()))
    make(arch, objects, ["allnoconfig", f"KCONFIG_ALLCONFIG={objects / 'wanted'}"])
    if missing := lost(wanted, (objects / ".config").read_text()):
        raise Refused(f"{arch} kernel options that did not survive:\n  " + "\n  ".join(missing))


def make(arch, objects, words):
    variables, _, _ = MAKE[arch]
    tree = source()
    environment, command = tools.inside(
        ["make", "-s", f"-j{os.cpu_count()}", f"O={objects}", *variables, *REPRODUCIBLE, *words],
        write=[objects], read=[tree, pathlib.Path(objects).parent], cwd=tree)
    tools.run_logged(objects / "log", command, environment)


def build(arch, extra=()):
    """The kernel for `arch`, cached by source, fragments, tools and recipe."""
    content = "".join(f"{name}={value}\n" for name, value in requested(arch, extra).items())
    deb, _ = inputs.fetch("kernel")
    identity = key(deb.stem, content, tools.versions(*COMPILERS[arch]), str(MAKE))
    folder = cache() / f"kernel-{arch}-{identity}"
    with stage(f"kernel {arch}") as outcome:
        if folder.exists():
            outcome("cached")
            return Kernel(folder)
        _, target, built = MAKE[arch]
        objects = cache() / f"kernel-objects-{arch}-{deb.stem[:20]}"
        configure(arch, objects, extra)
        make(arch, objects, [target])
        new = folder.with_suffix(".new")
        new.mkdir(exist_ok=True)
        (new / "kernel").write_bytes((objects / built).read_bytes())
        (new / "config").write_bytes((objects / ".config").read_bytes())
        (new / "release").write_text((objects / "include/config/kernel.release").read_text())
        (new / "config.sha256").write_text(sha256(objects / "kernel/config_data.gz") + "\n")
        new.rename(folder)
        return Kernel(folder)
