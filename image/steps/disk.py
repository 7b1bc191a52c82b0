"""The disk image: a tree of our files, an initramfs of init alone, and one call of mkosi."""

import os
import pathlib
import re
import shutil
import subprocess
import tomllib
import uuid

from . import attacks, inputs, kernel, others, programs, toolbox, tools
from .places import BUILD, ROOT, cache, key
from .progress import Refused, stage

MOUNT_POINTS = ["data", "dev", "ledger", "proc", "run", "state", "sys", "toolbox"]
COMMAND_LINE = {
    "x86_64": "console=tty0 console=ttyS0,115200 panic=10 loglevel=4 printk.devkmsg=on",
    "aarch64": "console=tty0 console=ttyAMA0,115200 panic=10 loglevel=4 printk.devkmsg=on",
}
EFI_ARCH = {"x86_64": "x64", "aarch64": "aa64"}
MKOSI_ARCH = {"x86_64": "x86-64", "aarch64": "arm64"}
# what the test images leave out of the release image, so that the probe can stand in its place
TESTS = {"cage": ["agents", "audit", "console", "egress", "operators", "pdp", "vault"], "hostile": [], "ringless": [], "smoke": []}
# where a test image has the malicious program: one that reads, and one whose command says where it writes
ATTACKED = {"cage": "wc", "ringless": "sort", "smoke": "sort"}
EMPTY_UUID = "00000000-0000-4000-8000-000000000000"


def version():
    """The version of the workspace, which is the image's."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def built_at():
    """Seconds since 1970 of the commit that is built, so that every build of it is the same."""
    words = ["git", "-c", f"safe.directory={ROOT}", "log", "-1", "--format=%ct"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or os.environ.get("SOURCE_DATE_EPOCH", "1764547200")


def build(arch="x86_64", output=BUILD, target_dir=None, test=None):
    """Build the image for `arch` into `output`; returns the path of the disk.

    A test image is the release image with the programs of tests/ added, and with service descriptions
    and a table of edges of its own.
    """
    tools.tree()
    built_kernel = kernel.build(arch)
    binaries = programs.build(arch, target_dir, test)
    box = toolbox.build(arch)
    output = pathlib.Path(output)
    work = output / f"work-{name(arch, test)}"
    tools.remove(work)
    with stage(f"image {name(arch, test)}"):
        assemble(arch, built_kernel, binaries, work)
        partitions(box, work / "tree", work / "repart")
        if test:
            add_tests(binaries, work / "tree", test)
            if test in ATTACKED:
                add_attacks(box, ATTACKED[test], work / "tree/usr/lib/kruxos-test/attacks")
            if test == "ringless":
                shutil.copytree(others.build(), work / "tree/usr/lib/kruxos-test/attacks", dirs_exist_ok=True)
            if test in programs.FEATURED:
                widen_forker(work / "tree/usr/lib/kruxos/services/forker.toml")
        copy(built_kernel.config, output / f"{name(arch, test)}.kernel-config")
        write(output / f"{name(arch, test)}.toolboxhash", box.root + "\n")
        return call_mkosi(arch, work, output, name(arch, test), box.root, TESTS.get(test, []))


def assemble(arch, built_kernel, binaries, work):
    """Lay out everything that mkosi.extra/ does not hold."""
    tree = work / "tree"
    for name in MOUNT_POINTS:
        (tree / name).mkdir(parents=True)
    for (_, program), place in programs.PROGRAMS.items():
        copy(binaries / program, tree / place, 0o755)
    facts = tree / "usr/lib/kruxos"
    write(facts / "kernel-config.sha256", built_kernel.digest + "\n")
    write(facts / "built", built_at() + "\n")
    for policy in ("invariants", "personal", "restricted", "system", "team"):
        copy(ROOT / f"policies/{policy}.yaml", facts / f"policies/{policy}.yaml")
    copy(empty_filesystem(), facts / "empty.ext4")
    modules = tree / "usr/lib/modules" / built_kernel.release
    copy(built_kernel.image, modules / "vmlinuz")
    # there are no modules; with these four files mkosi does not look for depmod in the image
    for stamp in ("modules.dep", "modules.dep.bin", "modules.symbols", "modules.symbols.bin"):
        write(modules / stamp, "")
    loader(arch, tree / "usr/lib/systemd/boot/efi")
    skeleton = work / "skeleton/usr/lib"
    write(skeleton / "os-release",
          f'ID=kruxos\nNAME="KruxOS"\nPRETTY_NAME="KruxOS {version()}"\nVERSION_ID={version()}\n')
    initramfs(binaries / "init", work / "initramfs.cpio.zst")


def partitions(box, tree, target):
    """The partitions of the disk: those of image/repart, with the toolbox in its first slot.

    The UUIDs of a slot's two partitions are the two halves of its root hash, as with the system's. What is
    copied stands in a folder of the tree that no partition holds.
    """
    target.mkdir(parents=True)
    for file in (ROOT / "image/repart").glob("*.conf"):
        copy(file, target / file.name)
    halves = [uuid.UUID(box.root[:32]), uuid.UUID(box.root[32:])]
    slot = [("41-toolbox-a.conf", box.data, halves[0]), ("40-toolbox-a-verity.conf", box.hashes, halves[1])]
    for described, content, half in slot:
        copy(content, tree / f"usr/lib/systemd/toolbox/{content.name}")
        file = target / described
        lines = [line for line in file.read_text().splitlines() if not line.startswith("Label=")]
        lines += [f"Label={described[3:-5]}", f"UUID={half}", f"CopyBlocks=/usr/lib/systemd/toolbox/{content.name}"]
        file.write_text("\n".join(lines) + "\n")


def add_tests(binaries, tree, test):
    """What only a test image holds."""
    for (_, program), place in programs.TEST_PROGRAMS.items():
        copy(binaries / program, tree / place, 0o755)
    if test in programs.FEATURED:
        _, feature, featured = programs.FEATURED[test]
        for program, place in featured.items():
            copy(binaries / feature / program, tree / place, 0o755)
    for file in sorted((ROOT / "tests/images" / test).glob("*")):
        folder = {"edges.toml": "", "system.yaml": "policies/", "invariants.yaml": "policies/"}.get(file.name, "services/")
        copy(file, tree / "usr/lib/kruxos" / (folder + file.name))


def add_attacks(box, program, target):
    """The malicious program of the escape suite in a true one's place, beside the libraries that that one has."""
    shutil.copytree(attacks.build(box), target, symlinks=True)
    if program == "wc":
        shutil.copy(target / "bin/wc", target / "bin/python3")  # it is also what runs as code
    else:
        (target / "bin/wc").rename(target / f"bin/{program}")
    for folder in ("lib", "lib64"):
        shutil.copytree(box.tree / program / folder, target / folder)


def widen_forker(target):
    """The forker's description with every system call that we know: filters add up, so that what stops an
    attack is the cage's own, and where that is taken away, nothing is left."""
    described = (ROOT / "mkosi.extra/usr/lib/kruxos/services/forker.toml").read_text()
    known = re.findall(r'\("(\w+)", libc::SYS_', (ROOT / "crates/linux/src/syscalls.rs").read_text())
    calls = "syscalls = [" + ", ".join(f'"{call}"' for call in known) + "]"
    write(target, re.sub(r"syscalls = \[.*?\n\]", calls, described, flags=re.DOTALL))


def name(arch, test=None):
    """The name of an image, without its ending."""
    return f"kruxos_{version()}_{arch}" + (f"_{test}" if test else "")


def copy(source, target, mode=0o644):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def write(target, text):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def loader(arch, target):
    """systemd-boot and its stub, from the pinned package."""
    deb, _ = inputs.fetch("loader" if arch == "x86_64" else f"loader-{arch}")
    folder = cache() / f"loader-{deb.stem[:20]}"
    if not folder.exists():
        inputs.unpack(deb, folder)
    for name in (f"systemd-boot{EFI_ARCH[arch]}.efi", f"linux{EFI_ARCH[arch]}.efi.stub"):
        copy(folder / "usr/lib/systemd/boot/efi" / name, target / name)


def empty_filesystem():
    """An empty ext4 of 16 MiB that init writes and grows; the same bytes each time."""
    recipe = ["mkfs.ext4", "-q", "-b", "4096", "-I", "256", "-m", "0", "-U", EMPTY_UUID, "-O",
              "quota,project,metadata_csum,metadata_csum_seed,64bit",
              "-E", f"hash_seed={EMPTY_UUID},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"]
    file = cache() / f"empty-{key(str(recipe), tools.versions('e2fsprogs'))}.ext4"
    if not file.exists():
        folder = cache() / "empty.new"
        folder.mkdir(exist_ok=True)
        new = folder / "fs"
        with open(new, "wb") as out:
            out.truncate(16 << 20)
        environment, command = tools.inside([*recipe, new], write=[folder])
        subprocess.run(command, env={**environment, "SOURCE_DATE_EPOCH": "1700000000"}, check=True)
        new.rename(file)
    return file


def initramfs(init, target):
    """A cpio archive (kernel documentation, early-userspace/buffer-format) with /init alone."""
    names = [("dev", 0o040755, b""), ("init", 0o100755, init.read_bytes()), ("proc", 0o040755, b""),
             ("root", 0o040755, b""), ("sys", 0o040755, b""), ("TRAILER!!!", 0, b"")]
    archive = b""
    for number, (name, mode, content) in enumerate(names, 1):
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive += pad(header) + pad(content)
    raw = target.with_suffix("")
    raw.write_bytes(archive)
    environment, command = tools.inside(
        ["zstd", "-q", "-19", "-T1", "--rm", "-f", raw, "-o", target], write=[target.parent])
    subprocess.run(command, env=environment, check=True)


def pad(data):
    return data + b"\0" * (-len(data) % 4)


def call_mkosi(arch, work, output, image, toolbox_root, without=()):
    environment, python = tools.mkosi()
    tools.run_logged(work / "log", [
        *python, "mkosi", "--directory", ROOT, "--architecture", MKOSI_ARCH[arch],
        "--tools-tree", tools.tree_path(), "--skeleton-tree", work / "skeleton", "--extra-tree", work / "tree",
        "--initrd", work / "initramfs.cpio.zst", "--repart-directory", work / "repart",
        "--kernel-command-line", f"{COMMAND_LINE[arch]} toolboxhash={toolbox_root}",
        "--image-version", version(), "--output", image, "--output-directory", output,
        "--source-date-epoch", built_at(), "--force",
        *(f"--remove-files=/usr/lib/kruxos/services/{service}.toml" for service in without), "build",
    ], environment)
    disk = output / f"{image}.raw"
    if not disk.exists():
        raise Refused(f"mkosi made no {disk.name}; its log is {work / 'log'}")
    disk.with_suffix(".roothash").write_text(root_hash(disk) + "\n")
    return disk


def root_hash(disk):
    """The UUIDs of slot A's data and hash partitions are the two halves of the root hash."""
    with open(disk, "rb") as file:
        file.seek(1024 + 128)
        tree, data = file.read(128), file.read(128)
    return uuid.UUID(bytes_le=data[16:32]).hex + uuid.UUID(bytes_le=tree[16:32]).hex
