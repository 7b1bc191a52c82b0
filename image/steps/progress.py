"""One line a stage: what is being done, how long it took, whether it was cached."""

import contextlib
import sys
import threading
import time

BEAT_SECONDS = 30


class Refused(Exception):
    """Something that the user can mend; the text says how."""


@contextlib.contextmanager
def stage(name):
    """Say that `name` began, that it still goes on every half minute, and how it ended.

    The body may call the yielded function with a word such as `cached` for the last line.
    """
    said = ["done"]
    started = time.monotonic()
    over = threading.Event()

    def beat():
        while not over.wait(BEAT_SECONDS):
            say(f"  {name}: {elapsed(started)} so far")

    say(f"> {name}")
    threading.Thread(target=beat, daemon=True).start()
    try:
        yield lambda word: said.__setitem__(0, word)
        say(f"  {name}: {said[0]}, {elapsed(started)}")
    finally:
        over.set()


def say(line):
    """Print a line for people; programs read files and exit codes."""
    print(line, file=sys.stderr, flush=True)


def elapsed(started):
    seconds = time.monotonic() - started
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def main(body):
    """Run `body`; a refusal is one line and exit code 1, not a traceback."""
    try:
        sys.exit(body())
    except Refused as refused:
        say(f"error: {refused}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
