"""Our programs: static, for musl, linked by the toolchain's own lld; the same bytes from any path.

The little C and assembly of TLS (crate ring) is compiled inside the tools tree, whatever the host has."""

import os
import pathlib
import shlex
import shutil
import subprocess

from . import sources, tools
from .places import ROOT, cache, key
from .progress import Refused, stage

# (package, program): where the program stands in the image
PROGRAMS = {
    ("audit", "audit"): "usr/bin/audit",
    ("console", "console"): "usr/bin/console",
    ("egress", "egress"): "usr/bin/egress",
    ("gateway", "gateway"): "usr/bin/gateway",
    ("init", "init"): "usr/sbin/init",
    ("net", "net"): "usr/bin/net",
    ("pdp", "pdp"): "usr/bin/pdp",
    ("sandbox", "forker"): "usr/bin/forker",
    ("sandbox", "worker"): "usr/bin/worker",
    ("vault", "vault"): "usr/bin/vault",
}
WRAPPER = "kruxos-rustc"
COMPILERS = {
    "x86_64": {"CC": "gcc", "AR": "ar"},
    "aarch64": {"CC": "aarch64-linux-gnu-gcc", "AR": "aarch64-linux-gnu-ar"},
}
# what a test image holds besides; every other file of it is the release image's
TEST_PROGRAMS = {
    ("probe", "forger"): "usr/lib/kruxos-test/forger",
    ("probe", "hostile"): "usr/lib/kruxos-test/hostile",
    ("probe", "inspector"): "usr/lib/kruxos-test/inspector",
    ("probe", "killer"): "usr/lib/kruxos-test/killer",
    ("probe", "planter"): "usr/lib/kruxos-test/planter",
    ("probe", "probe"): "usr/lib/kruxos-test/probe",
}

# what one test image holds besides: a package with a feature that nothing else is built with
FEATURED = {
    "cage": ("sandbox", "missing-rings", {"forker": "usr/lib/kruxos-test/forker",
                                          "worker": "usr/lib/kruxos-test/worker"}),
    # in the place of the release image's own: what its command line names is missing from every cage
    "ringless": ("sandbox", "missing-rings", {"forker": "usr/bin/forker", "worker": "usr/bin/worker"}),
}


def cargo():
    """The cargo of this user; says how to get one."""
    found = shutil.which("cargo") or shutil.which("cargo", path=pathlib.Path.home() / ".cargo/bin")
    if not found:
        raise Refused("cargo is missing: install Rust with rustup (Debian 13: `apt install rustup`; "
                      "elsewhere: https://rustup.rs), then run ./ci/setup again")
    return found


def without_path(target):
    """What runs rustc for our own crates: the checkout's path is in nothing that it makes."""
    # cargo hashes the wrapper's name into every symbol, so it is a bare name, found by PATH
    folder = pathlib.Path(target) / "tools-tree" / key(os.fspath(ROOT))
    folder.mkdir(parents=True, exist_ok=True)
    entry = folder / WRAPPER
    entry.write_text(f'#!/bin/sh\nexec "$@" --remap-path-prefix={shlex.quote(os.fspath(ROOT))}=/kruxos\n')
    entry.chmod(0o755)
    return folder


def compilers(arch, target, home):
    """What makes build scripts compile C inside the tools tree: small programs that enter it."""
    folder = pathlib.Path(target) / "tools-tree"
    folder.mkdir(parents=True, exist_ok=True)
    variables = {}
    for variable, program in COMPILERS[arch].items():
        environment, words = tools.inside([program], write=[target], read=[home])
        *sandbox, program = map(shlex.quote, words)
        entry = folder / f"{arch}-{variable.lower()}"
        entry.write_text(f'#!/bin/sh\nexport PYTHONPATH={shlex.quote(environment["PYTHONPATH"])}\n'
                         f'exec {" ".join(sandbox)} --chdir "$PWD" {program} "$@"\n')
        entry.chmod(0o755)
        variables[f"{variable}_{arch}_unknown_linux_musl"] = os.fspath(entry)
    return variables


def build(arch, target_dir=None, test=None):
    """Build every program for `arch`; returns the folder that holds them, by package name."""
    triple = f"{arch}-unknown-linux-musl"
    target = pathlib.Path(target_dir) if target_dir else cache() / "target"
    home = os.environ.get("CARGO_HOME") or os.fspath(pathlib.Path.home() / ".cargo")
    # the checkout's path is kept out of our own crates alone: flags of all crates would build every
    # dependency anew for each checkout
    remap = [f"--remap-path-prefix={home}=/cargo"]
    config = f"target.{triple}.rustflags={remap!r}".replace("'", '"')
    base = [cargo(), "build", "--release", "--locked", "--target", triple, "--config", config]
    words = list(base)
    for package in sorted({package for package, _ in {**PROGRAMS, **(TEST_PROGRAMS if test else {})}}):
        words += ["--package", package]
    with stage(f"programs {arch}"), sources.settled(target):
        environment = {**os.environ, **compilers(arch, target, home), "CARGO_TARGET_DIR": os.fspath(target),
                       "RUSTC_WORKSPACE_WRAPPER": WRAPPER}
        environment["PATH"] = f"{without_path(target)}:{environment['PATH']}"
        folder = target / triple / "release"
        if test in FEATURED:
            package, feature, programs = FEATURED[test]
            call(base + ["--package", package, "--features", feature], environment)
            (folder / feature).mkdir(exist_ok=True)
            for program in programs:
                shutil.copyfile(folder / program, folder / feature / program)
        # last, so that what stands in the folder is built without the feature
        call(words, environment)
    return folder


def call(words, environment):
    """Run cargo; its last words when it fails."""
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused("cargo build failed:\n" + done.stderr[-4000:])
