"""Where things lie: the checkout, what it builds, and the cache that outlives it."""

import hashlib
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE = ROOT / "image"
BUILD = ROOT / "build"


def cache():
    """The cache of this user: kernel, tools tree, inputs and cargo's target, keyed by content."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(base) / "kruxos"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key(*parts):
    """A short name for a content: texts, bytes and files."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            part = part.read_bytes()
        if isinstance(part, str):
            part = part.encode()
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:20]


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
