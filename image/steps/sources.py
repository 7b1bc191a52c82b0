"""What was compiled last in a target folder that several checkouts share. Cargo goes by the times of files: one
that another checkout compiled later than it was written would count as compiled, and its program would be
the other checkout's."""

import contextlib
import fcntl
import json
import os
import pathlib

from .places import ROOT, sha256

# what holds no source of a program
LEFT_OUT = {".git", "build", "target", "docs"}
ENDINGS = {".lock", ".rs", ".toml", ".yaml"}


def files():
    """Every source of the checkout, by its path from the root."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        for path in (pathlib.Path(folder) / name for name in sorted(names)):
            if path.suffix in ENDINGS:
                yield os.fspath(path.relative_to(ROOT)), path


@contextlib.contextmanager
def settled(target):
    """Gives each source that is not what was compiled last the time of now; nobody else settles meanwhile."""
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    with open(target / "sources.json", "a+", encoding="utf-8") as known:
        fcntl.flock(known, fcntl.LOCK_EX)
        known.seek(0)
        text = known.read()
        last = json.loads(text) if text else {}
        now = {name: sha256(path) for name, path in files()}
        for name in now:
            if last.get(name) != now[name]:
                os.utime(ROOT / name)
        known.truncate(0)
        json.dump(now, known)
        known.flush()
        yield
