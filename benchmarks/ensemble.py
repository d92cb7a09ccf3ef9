"""Three members of ours against three of Apache's: writes, forming, failing over, memory.

- writes: requests per second of set and create, 10 connections x 100 deep, spread over the three processes; and the
  processor time that one costs, which a busy machine changes less
- forming: from just before the first command is started to the first write acknowledged through each member
- failover: from the leader's SIGKILL to the next write that a client of the other two gets acknowledged
- memory: resident memory of a member, the mean of the three, five seconds after they formed

Each pair of ensembles is measured in turn, A B A B; medians, and the median of the pairs' ratios, are shown.
All members keep their data on a tmpfs, without fsync; with --durable on a disk, with it.  Markdown on stdout,
progress on stderr.
"""

import argparse
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import frames
from client import HOST, Client, four_letter_word
from load import Load, command_line
from report import Line, Pair, alternate, arguments, gathered, in_pairs, print_lines
from run import say
from servers import TMPFS, Recipe, Server, environment, stop
from workloads import Shape

MEMBERS = 3
SHAPE = Shape(10, 100)
PATIENCE = 60.0
CONFIG = """\
tickTime=2000
initLimit=10
syncLimit=5
dataDir={data}
clientPort={port}
clientPortAddress={host}
maxClientCnxns=0
4lw.commands.whitelist=*
"""


@dataclass
class Ensemble:
    """Members that serve.  ``forming`` is the seconds that it took."""

    members: list[Server]
    processes: "list[subprocess.Popen[bytes]]"
    forming: float

    def cpu_seconds(self) -> float:
        """Processor time so far, of all members."""
        return sum(member.cpu_seconds() for member in self.members)

    def leader(self) -> int:
        """The index of the member that leads."""
        modes = [four_letter_word(member.port, "srvr") for member in self.members]
        return next(n for n, answer in enumerate(modes) if "Mode: leader" in answer)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextmanager
def running(recipe: Recipe) -> Iterator[Ensemble]:
    """Start three members, wait until a write through each is acknowledged, and stop them however this is left."""
    tmpfs = os.access(TMPFS, os.W_OK) and not recipe.durable
    directory = Path(tempfile.mkdtemp(prefix="zkbench-", dir=TMPFS if tmpfs else None))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        ports = free_ports(3 * MEMBERS)
        clients, quorum, election = ports[::3], ports[1::3], ports[2::3]
        lines = "".join(f"server.{n + 1}={HOST}:{quorum[n]}:{election[n]}\n" for n in range(MEMBERS))
        for n, port in enumerate(clients, 1):
            (directory / f"{n}" / "data").mkdir(parents=True)
            (directory / f"{n}" / "data" / "myid").write_text(f"{n}\n")
            text = CONFIG.format(data=directory / f"{n}" / "data", port=port, host=HOST)
            (directory / f"{n}" / "zoo.cfg").write_text(text + lines)
        started = time.perf_counter()
        for n in range(1, MEMBERS + 1):
            with (directory / f"{n}" / "log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        recipe.line(directory / f"{n}" / "zoo.cfg"),
                        cwd=directory,
                        env=environment(),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        for port in clients:
            wait_for_a_write([port], started + PATIENCE, lambda: _last_words(recipe, directory))
        formed = time.perf_counter()
        members = [
            Server(recipe, port, process.pid, formed, formed - started)
            for port, process in zip(clients, processes, strict=True)
        ]
        yield Ensemble(members, processes, formed - started)
    finally:
        for process in processes:
            stop(process)
        shutil.rmtree(directory, ignore_errors=True)


def _last_words(recipe: Recipe, directory: Path) -> str:
    texts = [path.read_text(errors="replace") for path in sorted(directory.glob("*/log"))]
    return f"{recipe.label} does not form:\n" + "\n".join(text[-1500:] for text in texts)


def wait_for_a_write(ports: Sequence[int], deadline: float, explain: Callable[[], str]) -> float:
    """Try one port after the other until a write is acknowledged; when that was."""
    while time.perf_counter() < deadline:
        for port in ports:
            with suppress(OSError, frames.ReplyError), Client(port, timeout=2.0) as client:
                client.call(frames.SET_DATA, frames.set_body("/zookeeper/quota", b""))
                return time.perf_counter()
        time.sleep(0.005)
    raise SystemExit(explain())


def forming(pair: Pair, args: argparse.Namespace) -> Iterator[Line]:
    line = Line("formation from cold", "ms", 0, target=0.5)
    yield alternate(pair, args.repeats, line, running, lambda ensemble: ensemble.forming * 1e3)


def failing_over(ensemble: Ensemble) -> float:
    """Milliseconds."""
    time.sleep(1)
    leader = ensemble.leader()
    others = [member.port for n, member in enumerate(ensemble.members) if n != leader]
    killed = time.perf_counter()
    ensemble.processes[leader].kill()
    done = wait_for_a_write(others, killed + PATIENCE, lambda: "nobody takes over")
    return (done - killed) * 1e3


def failover(pair: Pair, args: argparse.Namespace) -> Iterator[Line]:
    line = Line("leader killed to the next acknowledged write", "ms", 0, target=0.5)
    yield alternate(pair, args.repeats, line, running, failing_over)


def resident(ensemble: Ensemble) -> float:
    """MiB."""
    time.sleep(5)
    return mean(member.resident_bytes() for member in ensemble.members) / 2**20


def memory(pair: Pair, args: argparse.Namespace) -> Iterator[Line]:
    line = Line("resident memory of a member at rest", "MiB", 0, target=0.5)
    yield alternate(pair, max(1, args.repeats // 3), line, running, resident)


def writes(pair: Pair, args: argparse.Namespace) -> Iterator[Line]:
    """Both ensembles run side by side, and are loaded in turn: what idles costs little."""
    for workload in ("set", "create"):
        with running(pair[0]) as first, running(pair[1]) as second:
            rates: tuple[list[float], list[float]] = ([], [])
            costs: tuple[list[float], list[float]] = ([], [])
            for turn in range(args.repeats + 1):
                for n, ensemble in enumerate((first, second)):
                    rate, cost = loaded(ensemble, workload, args.seconds if turn else args.warmup)
                    what = f"{workload} {SHAPE}: {pair[n].label}"
                    say(f"{what} {rate:,.0f}/s, {cost:.1f} µs of CPU{'' if turn else ' (warming)'}")
                    if turn:
                        rates[n].append(rate)
                        costs[n].append(cost)
        name = f"{workload}, {SHAPE} through three processes"
        yield in_pairs(Line(name, "/s", 0, target=1.5, at_least=True), *rates)
        yield in_pairs(Line("processor time for one, all members", "µs", 0), *costs)


def loaded(ensemble: Ensemble, workload: str, seconds: float) -> tuple[float, float]:
    """Writes per second, and the microseconds of processor time that one costs all members together."""
    port, *others = [member.port for member in ensemble.members]
    with Load(port, workload, SHAPE, others) as load:
        before = ensemble.cpu_seconds()
        result = load.run(seconds)
        used = ensemble.cpu_seconds() - before
    return result.requests_per_second, used / result.requests * 1e6


SECTIONS = {"writes": writes, "forming": forming, "failover": failover, "memory": memory}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each (5); a third for memory")
    parser.add_argument("--seconds", type=float, default=2.0, help="of writing at a time (2)")
    parser.add_argument("--warmup", type=float, default=8.0, help="seconds of writing before (8)")
    args = arguments(parser, SECTIONS)
    print_lines("three members", args, gathered(SECTIONS, args))


if __name__ == "__main__":
    main()
