"""Processes that a test starts, and stops by their own id whatever happened to them."""

import os
import pathlib
import signal
import socket
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def free_port():
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def established_to(port):
    """How many loopback connections to this port stand, seen from the side that made them."""
    lines = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
    remote_and_state = [line.split()[2:4] for line in lines]
    return remote_and_state.count([f"0100007F:{port:04X}", "01"])


def eventually(what, check, within=10.0, every=0.02):
    """The first true result of `check`; an `AssertionError` that says `what` when there is none in time."""
    deadline = time.monotonic() + within
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(every)


class Process:
    """A child process with its output in a file."""

    def __init__(self, command, log, env=None, cwd=None):
        self.log = pathlib.Path(log)
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **(env or {})}, cwd=cwd,
            )

    def output(self):
        return self.log.read_text(errors="replace")

    def running(self):
        return self.child.poll() is None

    def send(self, number):
        self.child.send_signal(number)

    def kill(self):
        """As if the machine had gone: no goodbye."""
        self.send(signal.SIGKILL)
        self.child.wait()

    def stop(self, within=10.0):
        """Asks it to end, and insists when it does not. Returns the exit code."""
        if self.running():
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            try:
                self.child.wait(within)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.child.returncode
