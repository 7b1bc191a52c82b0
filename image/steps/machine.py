"""A virtual machine like a real one: UEFI firmware, a disk on any bus, a watchdog, a serial port."""

import os
import pathlib
import platform
import shutil
import subprocess

from . import tools
from .progress import Refused

BUSES = {
    "virtio": ["-device", "virtio-blk-pci,drive=disk"],
    "nvme": ["-device", "nvme,drive=disk,serial=kruxos"],
    "ahci": ["-device", "ahci,id=ahci", "-device", "ide-hd,drive=disk,bus=ahci.0"],
    "usb": ["-device", "qemu-xhci", "-device", "usb-storage,drive=disk"],
}
FIRMWARE = {
    "x86_64": ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),
    "aarch64": ("usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", "usr/share/AAVMF/AAVMF_VARS.fd"),
}
DISK_BYTES = 8 << 30


def accelerator(arch):
    """KVM when it is asked for by `KRUXOS_KVM=1`; a /dev/kvm that hangs its guests is common."""
    if os.environ.get("KRUXOS_KVM") == "1" and platform.machine() == arch:
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


def bus_devices(bus, bootable):
    """The disk on its bus; firmware tries it first, unless a kernel is given beside it."""
    words = BUSES[bus]
    return [word + ",bootindex=0" if bootable and "drive=disk" in word else word for word in words]


def overlay(image, target, size=DISK_BYTES):
    """A disk of `size` bytes whose content is `image` until it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    environment, command = tools.inside(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, target, str(size)],
        write=[target.parent], read=[image.parent])
    subprocess.run(command, env=environment, check=True)
    return target


def variables(arch, target):
    """A fresh store of firmware variables."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tools.tree_path() / FIRMWARE[arch][1], target)
    target.chmod(0o644)
    return target


def command(arch, disk, firmware_variables, *, bus="virtio", memory_mib=512, serial="mon:stdio",
            reboot=True, kernel=None, initrd=None, append=None, second=None, forward=(), outside=False,
            nbd=None, read=()):
    """The environment and the words that start the machine, through the tools tree."""
    code = tools.tree_path() / FIRMWARE[arch][0]
    if not code.exists():
        raise Refused(f"the tools tree has no firmware for {arch} at {code}")
    file_format = "qcow2" if disk.suffix == ".qcow2" else "raw"
    source = f"file={disk},format={file_format},discard=unmap,cache=writeback"
    if nbd:
        # a server that goes away is a power cut: the machine stops where it is
        source = f"file=nbd+unix:///?socket={nbd},format=raw,discard=unmap,cache=writeback,werror=stop,rerror=stop"
    words = [f"qemu-system-{arch}", *accelerator(arch), "-smp", "2", "-m", str(memory_mib), "-nodefaults",
             "-display", "none", "-machine", "q35" if arch == "x86_64" else "virt,gic-version=3",
             "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file=/{FIRMWARE[arch][0]}",
             "-drive", f"if=pflash,unit=1,format=raw,file={firmware_variables}",
             "-drive", f"if=none,id=disk,{source}",
             *bus_devices(bus, bootable=not kernel), "-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset",
             "-serial", serial]
    ports = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for host, guest in forward)
    words += ["-netdev", f"user,id=net,restrict={'off' if outside else 'on'}{ports}", "-device", "virtio-net-pci,netdev=net,romfile="]
    if second:
        words += ["-drive", f"if=none,id=second,format=raw,file={second}", "-device", "virtio-blk-pci,drive=second"]
    if not reboot:
        words += ["-no-reboot"]
    if kernel:
        words += ["-kernel", kernel, *(["-initrd", initrd] if initrd else []), "-append", append]
    if nbd:
        read = [*read, nbd.parent]
    folders = {disk.parent, firmware_variables.parent} | ({second.parent} if second else set())
    seen = {pathlib.Path(file).parent for file in (kernel, initrd) if file} | set(read)
    return tools.inside([*map(os.fspath, words)], write=sorted(folders),
                        read=sorted(seen - folders), devices=True)
