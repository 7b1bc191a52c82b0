"""Our programs: static, for musl, linked by the toolchain's own lld; the same bytes from any path."""

import os
import pathlib
import shutil
import subprocess

from .places import ROOT, cache
from .progress import Refused, stage

# (package, program): where the program stands in the image
PROGRAMS = {
    ("init", "init"): "usr/sbin/init",
    ("net", "net"): "usr/bin/net",
    ("sandbox", "forker"): "usr/bin/forker",
    ("sandbox", "worker"): "usr/bin/worker",
}
# what a test image holds besides; every other file of it is the release image's
TEST_PROGRAMS = {("probe", "probe"): "usr/lib/kruxos-test/probe"}


def cargo():
    """The cargo of this user; says how to get one."""
    found = shutil.which("cargo") or shutil.which("cargo", path=pathlib.Path.home() / ".cargo/bin")
    if not found:
        raise Refused("cargo is missing: install Rust with rustup (Debian 13: `apt install rustup`; "
                      "elsewhere: https://rustup.rs), then run ./ci/setup again")
    return found


def build(arch, target_dir=None, test=False):
    """Build every program for `arch`; returns the folder that holds them, by package name."""
    triple = f"{arch}-unknown-linux-musl"
    target = pathlib.Path(target_dir) if target_dir else cache() / "target"
    home = os.environ.get("CARGO_HOME") or os.fspath(pathlib.Path.home() / ".cargo")
    remap = [f"--remap-path-prefix={ROOT}=/kruxos", f"--remap-path-prefix={home}=/cargo"]
    config = f"target.{triple}.rustflags={remap!r}".replace("'", '"')
    words = [cargo(), "build", "--release", "--locked", "--target", triple, "--config", config]
    for package, _ in {**PROGRAMS, **(TEST_PROGRAMS if test else {})}:
        words += ["--package", package]
    with stage(f"programs {arch}"):
        done = subprocess.run(words, cwd=ROOT, env={**os.environ, "CARGO_TARGET_DIR": os.fspath(target)},
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused("cargo build failed:\n" + done.stderr[-4000:])
    return target / triple / "release"
