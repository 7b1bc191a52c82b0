"""The packages that inputs.lock pins, fetched by a private apt from where the host's own apt looks."""

import functools
import os
import pathlib
import subprocess
import tomllib

from .places import IMAGE, cache, sha256
from .progress import Refused, say

KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
STABLE = "trixie"


def lock():
    return tomllib.loads((IMAGE / "inputs.lock").read_text())


def sources(suites):
    """A deb822 sources file for `suites` (and stable's security archive), on the host's mirror."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"],
        capture_output=True, text=True, check=False,
    ).stdout
    found = dict(reversed([line.split(" ", 1) for line in listing.splitlines() if " " in line]))
    if "Debian" not in found or not KEYRING.exists():
        raise Refused("apt has no lists of a Debian archive; run ./ci/setup, which updates them")
    stanza = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: " + str(KEYRING) + "\n"
    text = stanza.format(found["Debian"], " ".join(suites))
    security = found.get("Debian-Security")
    if security:
        text += "\n" + stanza.format(security, f"{STABLE}-security")
    return text


def fetch(name):
    """The .deb file of the pinned input `name`, and whether it is the pinned one."""
    return fetch_pin(lock()[name])


def fetch_pin(pin):
    """The .deb file of a pin, and whether it is the pinned one or one that takes its place."""
    pinned = cache() / "inputs" / f"{pin['sha256']}.deb"
    if pinned.exists() and sha256(pinned) == pin["sha256"]:
        return pinned, True
    pinned.parent.mkdir(exist_ok=True)
    options = private_apt()
    package = pin["package"] + ("" if pin["architecture"] == "all" else ":" + pin["architecture"])
    deb = download(options, package, pin["version"])
    if deb and sha256(deb) == pin["sha256"]:
        deb.rename(pinned)
        return pinned, True
    version = newest(options, package, pin["newest"])
    deb = version and download(options, package, version)
    if not deb:
        raise Refused(f"neither {package} {pin['version']} nor a version from {pin['newest']} on is to be had")
    say(f"  NOTE: {package} {pin['version']} is not to be had as pinned; taking {version}. This image "
        "is not one that can be reproduced from inputs.lock.")
    return deb.rename(pinned.parent / f"{sha256(deb)}.deb"), False


@functools.cache
def private_apt():
    """Options for an apt that knows stable and sid, whatever release the host is."""
    folder = cache() / "apt"
    for sub in ("state/lists/partial", "cache/archives/partial"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    (folder / "state/status").touch()
    listing = folder / "all.sources"
    listing.write_text(sources([STABLE, f"{STABLE}-updates", "sid"]))
    options = [
        "-o", f"Dir::State={folder}/state", "-o", f"Dir::Cache={folder}/cache",
        "-o", f"Dir::Etc::sourcelist={listing}", "-o", "Dir::Etc::sourceparts=/dev/null",
        "-o", f"Dir::State::status={folder}/state/status", "-o", "APT::Architecture=amd64",
        "-o", "APT::Architectures::=amd64", "-o", "APT::Architectures::=arm64", "-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root",
    ]
    updated = subprocess.run(["apt-get", *options, "-q", "update"], capture_output=True, text=True, check=False)
    if updated.returncode:
        raise Refused("apt-get update failed:\n" + updated.stderr.strip())
    return options


def download(options, package, version):
    folder = cache() / "inputs" / "new"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    subprocess.run(["apt-get", *options, "-q", "download", f"{package}={version}"], cwd=folder,
                   capture_output=True, check=False)
    return next(iter(folder.iterdir()), None)


def newest(options, package, least):
    """The newest version of `package` that is at least `least` and of its series."""
    table = subprocess.run(["apt-cache", *options, "madison", package], capture_output=True, text=True, check=False)
    versions = [line.split("|")[1].strip() for line in table.stdout.splitlines() if "|" in line]
    for version in versions:
        if not subprocess.run(["dpkg", "--compare-versions", version, "ge", least], check=False).returncode:
            return version
    return None


def unpack(deb, target):
    """Unpack a .deb file's content into the folder `target`."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "-x", os.fspath(deb), os.fspath(target)], check=True)
