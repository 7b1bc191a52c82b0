"""The attacks of tests/escape, as one program of a toolbox that is itself malicious: it stands where `wc` does,
and its last argument says which attack it is. A file more in a folder is an attack more: those of `attacks` run as
closed programs do, those of `connected` as code that was decided to connect. The neighbours beside them are in the same
program and in no list: they never end by themselves."""

import pathlib
import re
import subprocess

from . import programs, tools
from .places import ROOT, cache, key
from .progress import Refused, stage

FOLDER = ROOT / "tests/escape"
MAIN = """#include <stdio.h>
#include <string.h>
#include <unistd.h>
{declared}
static const struct {{ const char *name; int (*run)(int, char **); }} ATTACKS[] = {{
{table}}};

/* the attack that the last argument names; one in Rust is a program beside this one */
int main(int count, char **words) {{
    const char *slash = count > 0 ? strrchr(words[count - 1], '/') : NULL;
    char path[256];
    chdir("/workspace/mine");
    for (size_t at = 0; slash && at < sizeof ATTACKS / sizeof *ATTACKS; at++)
        if (strcmp(slash + 1, ATTACKS[at].name) == 0)
            return ATTACKS[at].run(count, words);
    snprintf(path, sizeof path, "/usr/bin%s", slash ? slash : "");
    execv(path, words);
    return 3;
}}
"""
# compiles and links all of it in one go; symbols of one attack are nobody else's
SCRIPT = """set -eu
cd "$1"
for source in "$2"/attacks/*.c "$2"/connected/*.c "$2"/neighbours/*.c; do
    name=$(basename "$source" .c)
    symbol=attack_$(printf %s "$name" | tr - _)
    gcc -std=gnu11 -O1 -Wall -Wextra -Werror -I "$2" -D main="$symbol" -c -o "$name.o" "$source"
    objcopy --keep-global-symbol="$symbol" "$name.o"
done
# its interpreter is named where it also is in a cage without a root of its own
gcc -std=gnu11 -O1 -Wall -Wno-unused-result -Werror -Wl,--dynamic-linker=/usr/lib64/ld-linux-x86-64.so.2 \
    -o bin/wc main.c ./*.o
"""


def sources():
    return sorted([*FOLDER.glob("attacks/*.c"), *FOLDER.glob("attacks/*.rs"), *FOLDER.glob("connected/*.c")])


def compiled():
    return [source for folder in ("attacks", "connected", "neighbours") for source in sorted(FOLDER.glob(f"{folder}/*.c"))]


def rings(source):
    """What a file says stops it: rings, or the kernel's option that is missing."""
    said = re.search(r"(Stopped by|Kernel): ([\w, -]+)", source.read_text())
    if not said:
        raise Refused(f"{source.relative_to(ROOT)} says neither `Stopped by:` rings nor `Kernel:` an option")
    return said.group(1), [word.strip() for word in said.group(2).split(",")]


def runs(source):
    """In which cages it is tried: the whole one; where several rings are named, one with each of them and without
    the others; one without all of them."""
    kind, words = rings(source)
    if kind == "Kernel":
        return ["seccomp"]
    if words == ["nothing"]:
        return ["nothing"]
    alone = ["-".join(other for other in words if other != ring) for ring in words if len(words) > 1]
    return ["nothing", *alone, "-".join(words)]


def build(toolbox):
    """The folder of the malicious program, and the list of what is tried, from the folder's content."""
    files = sorted({*sources(), *compiled()})
    recipe = key(toolbox.root, pathlib.Path(__file__), *sorted(FOLDER.glob("*.h")), *files, str([file.name for file in files]),
                 tools.versions("gcc", "libc6-dev", "binutils"))
    folder = cache() / f"attacks-{recipe}"
    with stage("attacks") as outcome:
        if folder.exists():
            outcome("cached")
            return folder
        new = folder.with_suffix(".new")
        tools.remove(new)
        (new / "bin").mkdir(parents=True)
        compile_all(new)
        for source in FOLDER.glob("attacks/*.rs"):
            words = [pathlib.Path(programs.cargo()).with_name("rustc"), "--edition", "2024", "-O", "-C", "panic=abort",
                     "--target", "x86_64-unknown-linux-musl", "-o", new / "bin" / source.stem, source]
            run([str(word) for word in words])
        names = [f"{source.parent.name} {source.stem} {' '.join(runs(source))}\n" for source in sources()]
        (new / "list").write_text("".join(names))
        for object_file in [*new.glob("*.o"), new / "main.c"]:
            object_file.unlink()
        new.rename(folder)
    return folder


def compile_all(folder):
    names = [source.stem for source in compiled()]
    symbol = {name: "attack_" + name.replace("-", "_") for name in sorted(names)}
    declared = "".join(f"int {of}(int, char **);\n" for of in symbol.values())
    table = "".join(f'    {{"{name}", {of}}},\n' for name, of in symbol.items())
    (folder / "main.c").write_text(MAIN.format(declared=declared, table=table))
    script = ["sh", "-c", SCRIPT, "sh", folder, FOLDER]
    environment, words = tools.inside(script, write=[folder], read=[FOLDER])
    run(words, environment)


def run(words, environment=None):
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused("the attacks do not compile:\n" + done.stderr[-4000:])
