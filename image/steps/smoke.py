"""The smoke walk: a box is booted without a terminal, paired, walked through by a real client, and
powered off. What the walk does is tests/smoke/walk.py."""

import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

from . import disk, machine, places, programs
from .progress import Refused, stage

BOOT_SECONDS = 240
END_SECONDS = 60


def run():
    """Build what is missing, then walk; returns the exit code."""
    image = disk.build("x86_64", test="smoke")
    krux = operators_program()
    python = client()
    folder = places.BUILD / "smoke"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    drive = machine.overlay(image, folder / "disk.qcow2")
    variables = machine.variables("x86_64", folder / "vars.fd")
    operators, agents = free_port(), free_port()
    environment, command = machine.command("x86_64", drive, variables, reboot=False, read=[places.BUILD],
                                           forward=[(agents, 7700), (operators, 7800)])
    box = Box(environment, command)
    try:
        with stage("boot"):
            box.wait("ready after", BOOT_SECONDS)
        box.type("\n")
        code = box.wait("pairing code: ", 30).rsplit(" ", 1)[-1]
        with stage("walk"):
            done = subprocess.run([python, places.ROOT / "tests/smoke/walk.py", krux, folder / "krux",
                                   f"127.0.0.1:{operators}", f"127.0.0.1:{agents}", code], check=False)
        if done.returncode:
            raise Refused(f"the walk does not hold; the box's last lines:\n{box.tail()}")
        with stage("power off"):
            subprocess.run([krux, "--config", folder / "krux", "shutdown"], check=True, stdout=subprocess.DEVNULL)
            box.wait_gone(END_SECONDS)
    finally:
        box.kill()
    print("smoke: everything holds")
    return 0


def operators_program():
    """krux for this machine."""
    target = places.cache() / "target"
    with stage("krux"):
        done = subprocess.run([programs.cargo(), "build", "--release", "--locked", "-p", "krux"], cwd=places.ROOT,
                              env={**os.environ, "CARGO_TARGET_DIR": os.fspath(target)},
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused("cargo build failed:\n" + done.stderr[-4000:])
    return target / "release/krux"


def client():
    """A Python with the MCP client, in the cache."""
    wanted = places.ROOT / "tests/smoke/requirements.txt"
    folder = places.cache() / f"client-{places.key(wanted, sys.version)}"
    with stage("MCP client") as outcome:
        if folder.exists():
            outcome("cached")
            return folder / "bin/python"
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        for words in ([sys.executable, "-m", "venv", new],
                      [new / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                       "--requirement", wanted]):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise Refused(f"the MCP client cannot be installed: {done.stderr[-2000:] or done.stdout[-2000:]}")
        new.rename(folder)
        return folder / "bin/python"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Box:
    """The machine, and what its console says."""

    def __init__(self, environment, command):
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines, self.new = [], queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.new.put(line.decode(errors="replace").strip())

    def wait(self, text, seconds):
        """The next line that holds `text`."""
        return self.match(re.compile(re.escape(text)), seconds)

    def match(self, pattern, seconds):
        """The next line in which `pattern` is found."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and (self.process.poll() is None or not self.new.empty()):
            try:
                line = self.new.get(timeout=0.2)
            except queue.Empty:
                continue
            self.lines.append(line)
            if pattern.search(line):
                return line
        raise Refused(f"no `{pattern.pattern}` within {seconds} s; the console's last lines:\n{self.tail()}")

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait_gone(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Refused(f"the box did not power off within {seconds} s:\n{self.tail()}") from None

    def tail(self):
        while not self.new.empty():
            self.lines.append(self.new.get())
        return "\n".join(self.lines[-25:])

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
