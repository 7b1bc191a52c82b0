"""Writing an image to a disk: refused where it would hurt, read back, with progress."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import stat
import struct
import sys
import time

from .progress import Refused, say

CHUNK = 4 << 20
BLKGETSIZE64 = 0x80081272
BLKFLSBUF = 0x1261
BLKZEROOUT = 0x127F
DISK_BYTES_MIN = 6 << 30


def check_target(device):
    """Refuse a disk that is mounted, in use, the system's own, or too small; returns its length."""
    status = os.stat(device)
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if not stat.S_ISBLK(status.st_mode):
        raise Refused(f"{device} is no disk; name a block device such as /dev/sdX, or a file")
    node = pathlib.Path(f"/sys/dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}").resolve()
    if (node / "partition").exists():
        raise Refused(f"{device} is a partition; name the whole disk, /dev/{node.parent.name}")
    parts = [node, *(path.parent for path in node.glob("*/partition"))]
    numbers = {(part / "dev").read_text().strip() for part in parts}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[2] in numbers:
            whose = "the system's own disk" if fields[4] in ("/", "/boot", "/usr") else "mounted"
            raise Refused(f"{device} is {whose}: {fields[2]} is at {fields[4]}; unmount it first")
    for line in pathlib.Path("/proc/swaps").read_text().splitlines()[1:]:
        used = os.stat(line.split()[0])
        if f"{os.major(used.st_rdev)}:{os.minor(used.st_rdev)}" in numbers:
            raise Refused(f"{device} holds swap that is in use ({line.split()[0]}); swapoff it first")
    held = [holder.name for part in parts for holder in (part / "holders").glob("*")]
    if held:
        raise Refused(f"{device} is in use by {', '.join(held)} (LVM, RAID or encryption)")
    with open(device, "rb") as opened:
        return struct.unpack("Q", fcntl.ioctl(opened, BLKGETSIZE64, b"\0" * 8))[0]


def describe(device, size):
    """One line by which a person recognises the disk."""
    name = pathlib.Path(device).resolve().name
    model = pathlib.Path(f"/sys/block/{name}/device/model")
    return f"{device}: {model.read_text().strip() + ', ' if model.exists() else ''}{size / 1e9:.1f} GB"


def extents(image):
    """(offset, length, holds data) over the whole file; holes read as zeros and are made so."""
    with open(image, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while position < size:
            try:
                data = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                data = size
            if data > position:
                yield position, data - position, False
            if data < size:
                hole = os.lseek(file.fileno(), data, os.SEEK_HOLE)
                yield data, hole - data, True
                position = hole
            else:
                position = size


def write(image, device):
    """Write every extent, then read all of them back; a difference is an error with its place."""
    plan = list(extents(image))
    block = stat.S_ISBLK(os.stat(device).st_mode)
    flags = os.O_RDWR | (os.O_EXCL if block else 0)
    try:
        target = os.open(device, flags)
    except OSError as error:
        raise Refused(f"{device}: {error.strerror}; is it in use?") from error
    with os.fdopen(target, "r+b", buffering=0) as out, open(image, "rb") as source:
        meter = Meter("write", sum(length for _, length, _ in plan))
        digests = {}
        for offset, length, data in plan:
            if data:
                digests[offset] = copy(source, out, offset, length, meter)
            else:
                zero(out, offset, length, block)
                meter.add(length)
        os.fsync(out.fileno())
        if block:
            fcntl.ioctl(out, BLKFLSBUF)
        meter.end()
        meter = Meter("read back", sum(length for _, length, data in plan if data))
        for offset, length, data in plan:
            if data and digest(out, offset, length, meter) != digests[offset]:
                raise Refused(f"{device} does not hold what was written at byte {offset}; "
                              "the disk is broken or smaller than it says")
        meter.end()


def copy(source, out, offset, length, meter):
    hashed = hashlib.sha256()
    source.seek(offset)
    out.seek(offset)
    while length:
        chunk = source.read(min(CHUNK, length))
        if not chunk:
            raise Refused("the image became shorter while it was written")
        view = memoryview(chunk)
        while view:
            view = view[out.write(view):]
        hashed.update(chunk)
        length -= len(chunk)
        meter.add(len(chunk))
    return hashed.digest()


def digest(file, offset, length, meter):
    hashed = hashlib.sha256()
    os.posix_fadvise(file.fileno(), offset, length, os.POSIX_FADV_DONTNEED)
    file.seek(offset)
    while length:
        chunk = file.read(min(CHUNK, length))
        if not chunk:
            break
        hashed.update(chunk)
        length -= len(chunk)
        meter.add(len(chunk))
    return hashed.digest()


def zero(out, offset, length, block):
    """Zeros without carrying them over the bus where the disk can do that."""
    if block:
        with contextlib.suppress(OSError):
            fcntl.ioctl(out, BLKZEROOUT, struct.pack("QQ", offset, length))
            return
    elif os.fstat(out.fileno()).st_size <= offset:
        return  # beyond the end of a file there are only zeros
    out.seek(offset)
    zeros = bytes(CHUNK)
    while length:
        length -= out.write(zeros[:min(CHUNK, length)])


class Meter:
    """Progress: at most four lines a second on a terminal, one each ten seconds elsewhere."""

    def __init__(self, doing, total):
        self.doing, self.total, self.done = doing, max(total, 1), 0
        self.started = self.said = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def add(self, count):
        self.done += count
        now = time.monotonic()
        if now - self.said > (0.25 if self.terminal else 10):
            self.said = now
            print(f"{self.line()}", end="\r" if self.terminal else "\n", file=sys.stderr, flush=True)

    def line(self):
        return f"  {self.doing}: {self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB ({self.done * 100 // self.total} %)"

    def end(self):
        say(f"{self.line()}, {time.monotonic() - self.started:.1f} s")
