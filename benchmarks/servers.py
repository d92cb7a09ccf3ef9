"""Starts a server from a command, in a directory of its own, and makes sure that it goes away again.

In memory: ours has no data directory; Apache's cannot do without, so its lies on a tmpfs where the machine has
one, and is not fsynced.  Durable (--durable): both have a data directory on the same disk, and fsync.
"""

import argparse
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client import HOST, four_letter_word, wait_until_served

REPOSITORY = Path(__file__).resolve().parent.parent
TMPFS = Path("/dev/shm")
DEBIAN_CLASSPATH = "/etc/zookeeper/conf:/usr/share/java/zookeeper.jar"
MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
PROPERTIES = (
    "-Dzookeeper.snapCount=2000000000",
    "-Dzookeeper.admin.enableServer=false",
)
UNSAFE = "-Dzookeeper.forceSync=no"
CONFIG = """\
tickTime=2000
clientPort={port}
clientPortAddress={host}
maxClientCnxns=0
"""
START_SECONDS = 60
STOP_SECONDS = 10


@dataclass(frozen=True)
class Recipe:
    """How to start a server: a command; the path of a zoo.cfg is appended (or put where {cfg} stands)."""

    label: str
    command: tuple[str, ...]
    in_memory: bool = False  # without a data directory
    durable: bool = False  # on a real disk

    def line(self, config: Path) -> list[str]:
        if any("{cfg}" in word for word in self.command):
            return [word.replace("{cfg}", str(config)) for word in self.command]
        return [*self.command, str(config)]


@dataclass(frozen=True)
class Server:
    """A server that serves."""

    recipe: Recipe
    port: int
    group: int  # the process group: the command, and whatever it started
    answered: float  # when the first request was answered, by time.perf_counter()
    startup: float  # seconds from just before the fork to that answer

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system, of the whole group. 0 where there is no /proc."""
        ticks = sum(int(fields[11]) + int(fields[12]) for _, fields in self._processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """VmRSS of the whole group. 0 where there is no /proc."""
        return sum(_resident(pid) for pid, _ in self._processes())

    def pids(self) -> list[int]:
        return [pid for pid, _ in self._processes()]

    def _processes(self) -> Iterator[tuple[int, list[str]]]:
        """The group's processes with the fields of /proc/PID/stat, from the state on."""
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if int(fields[2]) == self.group:
                yield int(entry.parent.name), fields

    def version(self) -> str:
        """What `srvr` says, without the build date."""
        first = four_letter_word(self.port, "srvr").partition("\n")[0]
        return first.partition(":")[2].partition(",")[0].partition("-")[0].strip() or "unknown version"


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


class Others:
    """How much of the machine's processors others use, from now on: neither the server nor this process.

    A share of all processors, with what a hypervisor took away; 0 where there is no /proc.  A tick is 10 ms,
    so one second on two cores is good to a few per cent.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._started, self._used = time.monotonic(), self._foreign()

    def share(self) -> float:
        elapsed = time.monotonic() - self._started
        return max(0.0, (self._foreign() - self._used) / elapsed / (os.cpu_count() or 1))

    def _foreign(self) -> float:
        stat = Path("/proc/stat")
        if not stat.exists():
            return 0.0
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
        # A process is also charged for the interrupts that it is interrupted by, so they belong to the total.
        total = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return total - self._server.cpu_seconds() - time.process_time()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    recipe: Recipe, poll: float = 0.005, fill: Callable[[Path], None] = lambda data: None
) -> Iterator[Server]:
    """Start, wait for the first answered request, and stop however the block is left.

    What `fill` puts into the data directory is there before the start.
    """
    tmpfs = os.access(TMPFS, os.W_OK) and not recipe.durable
    directory = Path(tempfile.mkdtemp(prefix="zkbench-", dir=TMPFS if tmpfs else None))
    process = None
    try:
        port = free_port()
        config = directory / "zoo.cfg"
        data = "" if recipe.in_memory else f"dataDir={directory}/data\n"
        config.write_text(CONFIG.format(port=port, host=HOST) + data)
        (directory / "data").mkdir()
        fill(directory / "data")
        with (directory / "log").open("wb") as log:
            started = time.perf_counter()
            process = subprocess.Popen(
                recipe.line(config),
                cwd=directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        answered = _first_answer(recipe, process, port, directory / "log", poll)
        yield Server(recipe, port, process.pid, answered, answered - started)
    finally:
        if process:
            stop(process)
        shutil.rmtree(directory, ignore_errors=True)


def _first_answer(
    recipe: Recipe, process: "subprocess.Popen[bytes]", port: int, log: Path, poll: float
) -> float:
    """As wait_until_served, but gives up as soon as the process ends, and shows what it said."""
    deadline = time.perf_counter() + START_SECONDS
    while time.perf_counter() < deadline and process.poll() is None:
        try:
            return wait_until_served(port, 1.0, poll)
        except TimeoutError:
            continue
    last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise SystemExit(f"{recipe.label} does not serve: {shlex.join(recipe.command)}\n{last}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the process and all that it started."""
    for signum, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            pass
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


_bytecode = tempfile.TemporaryDirectory(prefix="zkbench-bytecode-", ignore_cleanup_errors=True)


def environment() -> dict[str, str]:
    """The environment of children: this repository's package, and compiled modules kept as installers do."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), env.get("PYTHONPATH")]))
    env["PYTHONPYCACHEPREFIX"] = _bytecode.name
    return env


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the two servers (a zoo.cfg is appended, or put where {cfg} stands)")
    group.add_argument("--durable", action="store_true", help="both with a data directory and fsync")
    group.add_argument("--server-a", metavar="COMMAND", help="instead of ours: python -m pyzkserver")
    group.add_argument("--server-b", metavar="COMMAND", help="instead of Apache's: java … QuorumPeerMain")
    group.add_argument("--label-a", metavar="NAME", help="what tables call the first")
    group.add_argument("--label-b", metavar="NAME", help="what tables call the second")
    group.add_argument("--java", metavar="COMMAND", default="java", help='may have options: "java -Xmx1g"')
    group.add_argument(
        "--java-classpath", metavar="PATH", default=DEBIAN_CLASSPATH, help="(Debian's package)"
    )


def recipes(args: argparse.Namespace) -> tuple[Recipe, Recipe]:
    """The two servers that the command line asks for."""
    words = PROPERTIES if args.durable else (*PROPERTIES, UNSAFE)
    ours = (sys.executable, "-m", "pyzkserver", *words)
    java = (*shlex.split(args.java), "-cp", args.java_classpath, *words, MAIN_CLASS)

    def recipe(label: str, command: tuple[str, ...]) -> Recipe:
        return Recipe(label, command, not args.durable and "pyzkserver" in command, args.durable)

    return (
        recipe(
            args.label_a or ("A" if args.server_a else "pyzkserver"),
            tuple(shlex.split(args.server_a)) if args.server_a else ours,
        ),
        recipe(
            args.label_b or ("B" if args.server_b else "Apache"),
            tuple(shlex.split(args.server_b)) if args.server_b else java,
        ),
    )


def exit_on_sigterm() -> None:
    """Make SIGTERM and SIGHUP end this process as an exception does, so that the servers are stopped."""

    def leave(signum: int, _frame: object) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
