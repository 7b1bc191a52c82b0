"""The tools tree: built once by mkosi from image/tools/mkosi.conf; everything but cargo runs in it."""

import os
import shutil
import subprocess
import sys

from . import inputs
from .places import IMAGE, cache, key
from .progress import Refused, stage

PYTHON = sys.executable


def mkosi():
    """The environment and the command that run the pinned mkosi."""
    deb, _ = inputs.fetch("mkosi")
    folder = cache() / f"mkosi-{deb.stem[:20]}"
    if not folder.exists():
        inputs.unpack(deb, folder.with_suffix(".new"))
        folder.with_suffix(".new").rename(folder)
    packages = folder / "usr/lib/python3/dist-packages"
    return {**os.environ, "PYTHONPATH": os.fspath(packages)}, [PYTHON, "-W", "ignore", "-m"]


def tree():
    """The tools tree's folder, built if it is not cached."""
    config = IMAGE / "tools/mkosi.conf"
    folder = cache() / f"tools-{key(config, inputs.lock()['mkosi']['sha256'])}"
    with stage("tools tree") as outcome:
        if (folder / "tree").exists():
            outcome("cached")
            return folder / "tree"
        environment, python = mkosi()
        sandbox = folder / "sandbox/etc/apt/sources.list.d"
        sandbox.mkdir(parents=True, exist_ok=True)
        (sandbox / "mkosi.sources").write_text(
            inputs.sources([inputs.STABLE, f"{inputs.STABLE}-updates"]))
        (cache() / "packages").mkdir(exist_ok=True)
        run_logged(folder / "log", [
            *python, "mkosi", "--directory", IMAGE / "tools", "--sandbox-tree", folder / "sandbox",
            "--output-directory", folder, "--output", "new", "--package-cache-dir", cache() / "packages",
            "--force", "build",
        ], environment)
        (folder / "new").rename(folder / "tree")
        return folder / "tree"


def run_logged(log, command, environment, **more):
    """Run a command with its output in `log`; when it fails, its last lines are the error."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as out:
        done = subprocess.run([os.fspath(word) for word in command], env=environment, stdout=out,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, **more)
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise Refused(f"{command[-1]} failed with exit code {done.returncode}; the whole log is {log}\n{tail}")


def inside(command, *, write=(), read=(), cwd=None, devices=False):
    """The words that run `command` in the tools tree, and their environment.

    Folders are seen at their own paths: those in `write` writable, those in `read` not.
    """
    environment, python = mkosi()
    root = tree_path()
    words = [*python, "mkosi.sandbox", "--ro-bind", root / "usr", "/usr", "--ro-bind", root / "etc", "/etc"]
    for link in ("bin", "sbin", "lib", "lib64"):
        words += ["--symlink", f"usr/{link}", f"/{link}"]
    words += ["--proc", "/proc", "--tmpfs", "/tmp", "--setenv", "PATH", "/usr/bin:/usr/sbin"]
    words += ["--bind", "/dev", "/dev"] if devices else ["--dev", "/dev"]
    for path in read:
        words += ["--ro-bind", path, path]
    for path in write:
        words += ["--bind", path, path]
    if cwd:
        words += ["--chdir", cwd]
    return environment, [os.fspath(word) for word in [*words, *command]]


def tree_path():
    """The tools tree without a progress line, for those who come after `tree`."""
    config = IMAGE / "tools/mkosi.conf"
    return cache() / f"tools-{key(config, inputs.lock()['mkosi']['sha256'])}" / "tree"


def versions(*packages):
    """Versions of packages of the tools tree, for keys: what these did not change, they did not make."""
    found = {}
    for stanza in (tree_path() / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") in packages:
            found[fields["Package"]] = fields["Version"]
    if missing := set(packages) - set(found):
        raise Refused(f"the tools tree lacks {', '.join(sorted(missing))}")
    return str(sorted(found.items()))


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)
