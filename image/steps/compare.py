"""Boots our image and a small Debian 13 with systemd in the same QEMU, one after the other, and says how
long each took from the kernel's start to ready: one JSON object a line, as `ci/bench` prints them."""

import json
import re
import statistics
import subprocess

from . import disk, inputs, machine, places, tools
from .progress import Refused, stage
from .smoke import Box

ROUNDS = 3
SECONDS = 300
# Debian says `Startup finished in 1.2s (kernel) + 3.4s (initrd) + 5.6s (userspace) = 10.2s.`
FINISHED = re.compile(r"Startup finished in .* = (?:(\d+)min )?([\d.]+)s")
READY = re.compile(r"ready after (\d+) ms")


def debian():
    """The Debian disk, built once and kept in the cache."""
    config = places.ROOT / "tests/compare/mkosi.conf"
    folder = places.cache() / f"debian-{places.key(config)}"
    built = folder / "debian.raw"
    with stage("Debian image") as outcome:
        if built.exists():
            outcome("cached")
            return built
        environment, python = tools.mkosi()
        sandbox = folder / "sandbox/etc/apt/sources.list.d"
        sandbox.mkdir(parents=True, exist_ok=True)
        (sandbox / "mkosi.sources").write_text(inputs.sources([inputs.STABLE, f"{inputs.STABLE}-updates"]))
        tools.run_logged(folder / "log", [
            *python, "mkosi", "--directory", config.parent, "--tools-tree", tools.tree_path(),
            "--sandbox-tree", folder / "sandbox", "--output-directory", folder, "--output", "debian",
            "--package-cache-dir", places.cache() / "packages", "--force", "build"], environment)
        if not built.exists():
            raise Refused(f"mkosi made no {built}; its log is {folder / 'log'}")
        return built


def boot(image, pattern, name):
    """Milliseconds from the kernel's start to ready, by what the console says."""
    folder = places.BUILD / "compare"
    drive = machine.overlay(image, folder / f"{name}.qcow2", 8 << 30)
    variables = machine.variables("x86_64", folder / f"{name}.fd")
    environment, command = machine.command("x86_64", drive, variables, reboot=False,
                                           read=[places.BUILD, image.parent])
    box = Box(environment, command)
    try:
        line = box.match(pattern, SECONDS)
    finally:
        box.kill()
    found = pattern.search(line)
    if pattern is READY:
        return float(found[1])
    return (int(found[1] or 0) * 60 + float(found[2])) * 1000


def compressed(image):
    """Bytes of the disk under zstd -3, which both are measured with."""
    environment, command = tools.inside(["zstd", "-3", "-T2", "-c", image], read=[image.parent])
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as packed:
        return sum(len(chunk) for chunk in iter(lambda: packed.stdout.read(1 << 20), b""))


def main():
    ours, theirs = disk.build("x86_64"), debian()
    times = {"ours": [], "debian": []}
    for number in range(ROUNDS):
        with stage(f"boots, round {number + 1} of {ROUNDS}"):
            times["ours"].append(boot(ours, READY, "ours"))
            times["debian"].append(boot(theirs, FINISHED, "debian"))
    for name, unit, mine, other, must, most in (
            ("boot", "ms (emulated)", times["ours"], times["debian"],
             "kernel to ready at least five times faster than a Debian systemd image in the same QEMU", 0.2),
            ("disk", "bytes, zstd -3", [compressed(ours)], [compressed(theirs)], "system part <= 24 MiB", None)):
        p50, peer = statistics.median(mine), statistics.median(other)
        holds = p50 <= most * peer if most else p50 <= 24 << 20
        print(json.dumps({"name": name, "unit": unit, "p50": p50, "p99": max(mine), "peer": "Debian 13 with systemd",
                          "peer_p50": peer, "ratio": round(p50 / peer, 3), "must": must, "holds": holds}))
    return 0
