"""META as crates/contract/src/meta.rs defines it, and its entry in the partition table."""

import hashlib
import secrets
import struct
import uuid
import zlib

MAGIC = b"KRUXMETA"
COPY_BYTES = 65536
META_BYTES = 4 << 20
META_TYPE = uuid.UUID("3ceaaf30-8142-48ea-91d9-3080f9b439fc")
SECTOR = 512
ALIGNMENT = (1 << 20) // SECTOR


def content(operator_key, secret):
    """Two copies for a box whose first operator is known."""
    body = cbor({"generation": 1, "install": list(secrets.token_bytes(16)),
                 "operator": {"key": list(operator_key), "secret": list(secret)}})
    copy = MAGIC + struct.pack("<Q", len(body)) + body + hashlib.sha256(body).digest()
    return copy.ljust(COPY_BYTES, b"\0") * 2


def cbor(value):
    """Deterministic CBOR (RFC 8949 section 4.2.1) of the few kinds of value that META holds."""
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    pairs = sorted((cbor(name), cbor(item)) for name, item in value.items())
    return head(5, len(pairs)) + b"".join(name + item for name, item in pairs)


def head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 1 << (8 * size))
    return bytes([major << 5 | 24 + size.bit_length() - 1]) + number.to_bytes(size, "big")


def add_partition(device):
    """Append META to the table that `device` begins with; returns where it starts, in bytes.

    Only the primary table is written: init, which finds the disk longer than the image, writes both.
    """
    device.seek(SECTOR)
    header = bytearray(device.read(92))
    entries_at = struct.unpack_from("<Q", header, 72)[0] * SECTOR
    count, size = struct.unpack_from("<II", header, 80)
    device.seek(entries_at)
    table = bytearray(device.read(count * size))
    used = [number for number in range(count) if any(table[number * size:number * size + 16])]
    end = max(struct.unpack_from("<Q", table, number * size + 40)[0] for number in used) + 1
    first = -(-end // ALIGNMENT) * ALIGNMENT
    last = first + META_BYTES // SECTOR - 1
    number = next(n for n in range(count) if n not in used)
    name = "meta".encode("utf-16-le").ljust(72, b"\0")
    table[number * size:number * size + 128] = (
        META_TYPE.bytes_le + uuid.uuid4().bytes_le + struct.pack("<QQQ", first, last, 0) + name)
    # the last usable sector lies behind META; init sets it anew from the disk's real length
    struct.pack_into("<Q", header, 48, max(struct.unpack_from("<Q", header, 48)[0], last))
    struct.pack_into("<I", header, 88, zlib.crc32(table))
    struct.pack_into("<I", header, 16, 0)
    struct.pack_into("<I", header, 16, zlib.crc32(header))
    device.seek(entries_at)
    device.write(table)
    device.seek(SECTOR)
    device.write(header)
    return first * SECTOR
