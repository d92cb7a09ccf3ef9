"""What a server costs in a test: ours, Curator's TestingServer, and a Java process for each test, in one run.

A test is: enter a server, connect, make a session, create a node, read it, close the session, leave the server.  The
client does no more than that, and is the same for all (in Java where the server is in a JVM).

- cycle: one test; for the two that live in a process the first is told apart, for it loads and compiles
- thousand: 1,000 tests with a fresh server each, ours
- kazoo: from entering a Server to the first answer that a kazoo client gets, where kazoo is installed; what one of
  its requests takes, and what recording adds to a request
- reset: of a server with 1,000 nodes, of which a test has changed none, all, or added as many
- together: 200 servers side by side in one process, each of which has answered

Markdown on stdout, progress on stderr.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from load import command_line
from report import Pair, arguments, gathered
from run import say, table
from servers import TMPFS, UNSAFE, environment, running
from startup import python

HERE = Path(__file__).resolve().parent
CURATOR_CLASSPATH = "/usr/share/java/curator-test.jar:/usr/share/java/zookeeper.jar"


def ours(what: str, count: int) -> Any:
    """One of the functions of fixture_cycles.py, in a process of its own."""
    return json.loads(python(str(HERE / "fixture_cycles.py"), what, str(count)))


# --- Curator ------------------------------------------------------------------------------------------------


@contextmanager
def compiled() -> Iterator[Path]:
    """The Java program, compiled."""
    base = TMPFS if os.access(TMPFS, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="zkbench-curator-", dir=base))
    try:
        source = HERE / "CuratorCycles.java"
        compiler = ["javac", "-cp", CURATOR_CLASSPATH, "-d", str(directory), str(source)]
        done = subprocess.run(compiler, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(
                f"{shlex.join(compiler)} failed (apt-get install libcurator-test-java):\n{done.stderr}"
            )
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def curator(args: argparse.Namespace, cycles: int, together: int) -> list[list[float]]:
    """The numbers of each line that it prints."""
    with compiled() as directory:
        command = [*shlex.split(args.java), "-cp", f"{directory}:{CURATOR_CLASSPATH}"]
        # Its data lies on a tmpfs and is not synced: in memory as far as it can be.
        command += [UNSAFE, "-Dzookeeper.admin.enableServer=false", f"-Djava.io.tmpdir={directory}"]
        command += ["CuratorCycles", str(cycles), str(together)]
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=540, check=False
        )
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)} failed:\n{done.stderr[-2000:]}")
    return [[float(word) for word in line.split()[1:]] for line in done.stdout.splitlines()]


# --- the report ---------------------------------------------------------------------------------------------

Row = list[str]


def ms(value: float) -> str:
    """Milliseconds."""
    return f"{value:,.0f} ms" if value >= 100 else f"{value:,.1f} ms"


def medians(rows: list[list[float]]) -> list[float]:
    """Of each column."""
    return [median(column) for column in zip(*rows, strict=True)]


def cycle_rows(pair: Pair, args: argparse.Namespace) -> Iterator[Row]:
    mine, java = ours("cycles", args.cycles), curator(args, args.cycles, 1)[:-1]
    say(f"{len(mine)} tests of ours, {len(java)} of Curator's")
    starts, wholes = [], []
    for _ in range(args.processes):
        begun = time.perf_counter()
        with running(pair[1], poll=0.001) as server:
            starts.append(server.startup * 1e3)
            server_answered = server.answered
        wholes.append((time.perf_counter() - begun) * 1e3)
        assert server_answered
        say(f"a Java process: {ms(starts[-1])}, {ms(wholes[-1])} with its end")
    first = [ms(mine[0][2]), ms(java[0][2]), ms(median(wholes))]
    yield ["the first test of a process, from entering to having left", *first]
    here, there = medians(mine[1:]), medians(java[1:])
    yield ["each further one: until it is entered", ms(here[0]), ms(there[0]), ""]
    yield ["until the client has its last answer", ms(here[1]), ms(there[1]), ms(median(starts))]
    yield ["until it is left", ms(here[2]), ms(there[2]), ms(median(wholes))]


def thousand_rows(_pair: Pair, args: argparse.Namespace) -> Iterator[Row]:
    found = ours("thousand", 1000)
    total, besides = found
    yield ["1,000 tests, a fresh server each", f"{total:.1f} s", "", ""]
    yield ["that without the client's time", f"{besides:.1f} s", "", ""]


def kazoo_rows(_pair: Pair, args: argparse.Namespace) -> Iterator[Row]:
    entered, answered = medians(ours("kazoo", args.cycles)[1:])
    yield ["entering to a kazoo client's first answer", ms(answered), "", ""]
    yield ["of which entering", ms(entered), "", ""]
    yield ["a get of kazoo's", f"{median(ours('requests', 5000)):.0f} µs", "", ""]
    yield ["what recording adds to a request", f"{median(ours('recording', 15)):.1f} µs", "", ""]


def reset_rows(_pair: Pair, args: argparse.Namespace) -> Iterator[Row]:
    for what, times in ours("reset", 50):
        yield [f"reset, 1,000 nodes: {what}", f"{median(times):.2f} ms", "", ""]


def together_rows(_pair: Pair, args: argparse.Namespace) -> Iterator[Row]:
    count = args.together
    mine, theirs = ours("together", count), curator(args, 1, count)[-1]
    names = [f"{count} side by side, all answered", "their threads", "descriptors", "resident memory"]
    shown = [
        (
            f"{a:.1f} s" if not i else f"{a / 1024:,.0f} MiB" if i == 3 else f"{a:,.0f}"
            for i, a in enumerate(row)
        )
        for row in (mine, theirs)
    ]
    for name, a, b in zip(names, *shown, strict=True):
        yield [name, a, b, ""]


SECTIONS = {
    "cycle": cycle_rows,
    "thousand": thousand_rows,
    "kazoo": kazoo_rows,
    "reset": reset_rows,
    "together": together_rows,
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--cycles", type=int, default=100, help="tests in a process (100)")
    parser.add_argument("--processes", type=int, default=5, help="Java processes, one after the other (5)")
    parser.add_argument("--together", type=int, default=200, help="servers side by side (200)")
    args = arguments(parser, SECTIONS)
    ours("cycles", 1)  # compiles, as an installer does
    rows = gathered(SECTIONS, args)
    print(table(["", "pyzkserver", "Curator", "a Java process"], rows))


if __name__ == "__main__":
    main()
