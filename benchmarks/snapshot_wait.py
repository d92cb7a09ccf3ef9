"""How long requests wait while a snapshot of 1,000,000 znodes is taken, with fsync on.

A server starts on a directory that holds them.  One connection gets, a millisecond after each reply the next;
another one sets, one request at a time without a pause; both on nodes of the million.  With `snapCount=400`
snapshots are due again and again: the measurement ends when so many were finished.  Then the same server, for as
long, with a snapCount that is never reached: what the machine and its disk make requests wait by themselves.  A,
A without, B, B without, and again.

Markdown on stdout, progress on stderr.
"""

import argparse
import gc
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import frames
import million
from client import HOST, Client
from load import command_line
from run import say, table
from servers import PROPERTIES, Recipe, add_server_arguments, exit_on_sigterm, recipes, running
from workloads import DATA

SNAP_COUNT = 400
NEVER = PROPERTIES[0].rpartition("=")[2]
LIMIT = 10.0  # milliseconds
LOOK_EVERY = 0.05  # seconds
AFTERWARDS = 1.0  # seconds after the last snapshot that still count
AT_MOST = 240.0  # seconds
PAUSE = 0.001  # seconds between a get's reply and the next get
NEIGHBOUR = """\
import time
while True:
    begun = time.perf_counter()
    while time.perf_counter() - begun < 0.001:
        pass
    time.sleep(0.009)
"""


@dataclass(frozen=True)
class Waits:
    """What one kind of request waited, in milliseconds."""

    requests: int
    p50: float
    p999: float
    longest: float
    beyond: int  # how many waited longer than the limit

    @classmethod
    def of(cls, times: list[float]) -> "Waits":
        times = sorted(times)
        last = len(times) - 1
        p50, p999, longest = (round(times[int(last * share)] * 1e3, 2) for share in (0.5, 0.999, 1))
        return cls(len(times), p50, p999, longest, sum(each * 1e3 > LIMIT for each in times))


@dataclass(frozen=True)
class Run:
    """One measurement."""

    label: str
    snapshots: int
    seconds: float
    each: tuple[float, ...]  # seconds that each snapshot took
    get: Waits
    set: Waits


class Asker:
    """One connection with one request outstanding; `times` are what each waited, in seconds."""

    def __init__(self, port: int, opcode: int, bodies: Iterator[bytes], pause: float) -> None:
        self._pause = pause
        self.due: float | None = 0.0  # when to ask again, by time.perf_counter(); None while it waits
        self._requests = (frames.request(1, opcode, body) for body in bodies)
        self._received = b""
        self._sent = 0.0
        self.times: list[float] = []
        self.socket = socket.create_connection((HOST, port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(frames.connect_request())
        if not self.socket.recv(1 << 16):
            raise ConnectionResetError("the server refused the session")

    def ask(self) -> None:
        request = next(self._requests)
        self.due = None
        self._sent = time.perf_counter()
        self.socket.sendall(request)

    def take(self) -> None:
        """Read what there is of the reply."""
        chunk = self.socket.recv(1 << 16)
        now = time.perf_counter()
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        self._received += chunk
        if not frames.split(self._received):
            return
        frames.check_block(self._received, 1)
        self._received = b""
        self.times.append(now - self._sent)
        self.due = now + self._pause


class Snapshots:
    """Watches a data directory.  A snapshot is taken from the moment its file is there until it is whole."""

    def __init__(self, data: Path) -> None:
        self._directory = data / "version-2"
        self._before = set(self._directory.iterdir())
        self._begun: dict[str, float] = {}
        self.took: dict[str, float] = {}

    def look(self) -> None:
        now = time.perf_counter()
        for path in self._directory.iterdir():
            # Ours has another name until it is whole.
            name = path.name.removeprefix("unfinished.")
            if name.startswith("snapshot.") and path not in self._before and name not in self.took:
                began = self._begun.setdefault(name, now)
                if name == path.name and self._is_whole(path):
                    self.took[name] = now - began

    @staticmethod
    def _is_whole(path: Path) -> bool:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 5))
            return file.read() == frames.text("/")


def measure(recipe: Recipe, znodes: int, until: Callable[[Snapshots, float], bool]) -> Run:
    """`until` says whether it is enough, after so many seconds."""
    directories: list[Path] = []

    def fill(data: Path) -> None:
        million.write(data, znodes)
        directories.append(data)

    with running(recipe, fill=fill) as server:
        say(f"{recipe.label}: served its first request after {server.startup:.1f} s")
        with Client(server.port) as client:
            for number in range(100):  # nothing is done for the first time
                client.call(frames.GET_DATA, frames.get_body(million.node(number)))
                client.call(frames.SET_DATA, frames.set_body(million.node(number), DATA))
        snapshots = Snapshots(directories[0])
        return answer(recipe.label, server.port, znodes, snapshots, until)


def answer(
    label: str, port: int, znodes: int, snapshots: Snapshots, until: Callable[[Snapshots, float], bool]
) -> Run:
    paths = [million.node(number * 7919 % znodes) for number in range(10_000)]
    gets = Asker(port, frames.GET_DATA, (frames.get_body(path) for path in around(paths)), PAUSE)
    sets = Asker(port, frames.SET_DATA, (frames.set_body(path, DATA) for path in around(paths)), 0.0)
    askers = {asker.socket.fileno(): asker for asker in (gets, sets)}
    with select.epoll() as poll:
        for number in askers:
            poll.register(number, select.EPOLLIN)
        gc.disable()
        begun = look_at = now = time.perf_counter()
        while not until(snapshots, now - begun):
            for number, _ in poll.poll(PAUSE / 4):
                askers[number].take()
            now = time.perf_counter()
            for asker in askers.values():
                if asker.due is not None and now >= asker.due:
                    asker.ask()
            if now >= look_at:
                snapshots.look()
                look_at = time.perf_counter() + LOOK_EVERY
    gc.enable()
    for asker in askers.values():
        asker.socket.close()
    took = tuple(round(seconds, 2) for seconds in snapshots.took.values())
    run = Run(label, len(took), round(now - begun, 1), took, Waits.of(gets.times), Waits.of(sets.times))
    say(run)
    return run


def around(paths: list[str]) -> Iterator[str]:
    while True:
        yield from paths


def enough(count: int) -> Callable[[Snapshots, float], bool]:
    """So many snapshots, and a moment more."""
    reached: list[float] = []

    def until(snapshots: Snapshots, seconds: float) -> bool:
        if len(snapshots.took) >= count:
            reached.append(seconds)
        return bool(reached and seconds > reached[0] + AFTERWARDS) or seconds > AT_MOST

    return until


def all_three(recipe: Recipe, args: argparse.Namespace) -> Iterator[Run]:
    """With snapshots; for as long without; and without, beside a neighbour."""
    due = replace(recipe, command=tuple(w.replace(NEVER, str(args.snap_count)) for w in recipe.command))
    found = measure(due, args.znodes, enough(args.snapshots))
    yield found
    quiet = replace(recipe, label=f"{recipe.label}, no snapshot")
    yield measure(quiet, args.znodes, lambda _, seconds: seconds > found.seconds)
    beside = replace(recipe, label=f"{recipe.label}, a neighbour")
    with neighbour():
        yield measure(beside, args.znodes, lambda _, seconds: seconds > found.seconds)


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that computes for a millisecond of each ten."""
    process = subprocess.Popen([sys.executable, "-c", NEIGHBOUR])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def row(runs: list[Run], what: str) -> list[str]:
    """One line of the report: all runs of one server."""
    waits: list[Waits] = [getattr(run, what) for run in runs]
    each = sorted(seconds for run in runs for seconds in run.each)
    return [
        what,
        runs[0].label,
        f"{len(each)}" + (f" of {each[0]:.0f}–{each[-1]:.0f} s" if each else ""),
        f"{sum(wait.requests for wait in waits):,}",
        f"{median(wait.p50 for wait in waits):.2f}",
        f"{median(wait.p999 for wait in waits):.2f}",
        f"{median(wait.longest for wait in waits):.1f}",
        f"{max(wait.longest for wait in waits):.1f}",
        f"{sum(wait.beyond for wait in waits):,}",
    ]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--znodes", type=int, default=1_000_000)
    parser.add_argument("--snapshots", type=int, default=2, help="to wait for in each run (2)")
    parser.add_argument("--snap-count", type=int, default=SNAP_COUNT, help=f"({SNAP_COUNT})")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each server (5)")
    parser.add_argument("--only", choices="ab", help="one of the two servers")
    parser.add_argument("--json", type=Path, metavar="FILE")
    add_server_arguments(parser)
    args = parser.parse_args()
    exit_on_sigterm()
    args.durable = True
    pair = recipes(args)
    chosen = [pair["ab".index(args.only)]] if args.only else pair
    say(f"data lies in {tempfile.gettempdir()}")
    runs = [run for _ in range(args.repeats) for recipe in chosen for run in all_three(recipe, args)]
    labels = list(dict.fromkeys(run.label for run in runs))
    head = ["", "", "snapshots", "requests", "p50 ms", "p99.9 ms", "longest ms", "of all runs", "> 10 ms"]
    by_label = [[run for run in runs if run.label == label] for label in labels]
    print(table(head, (row(found, what) for what in ("get", "set") for found in by_label)))
    if args.json:
        args.json.write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")


if __name__ == "__main__":
    main()
