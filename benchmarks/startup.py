"""What a server costs before it does anything: time to start, memory at rest and per znode, and embedding.

- start: from just before the command is started to its first answered request (a session and one exists on /)
- rest: resident memory a second after the start, when one client has come and gone
- znodes: resident memory per znode, at 100,000 znodes of 128 bytes; a Java process also after a collection
- million: start on a data directory whose snapshot holds 1,000,000 znodes of 128 bytes, and resident memory then
- embed: `with pyzkserver.Server(): pass`, in a process that has imported it
- import: `import pyzkserver`, as what it adds to an interpreter that starts and ends

Starts alternate between the two servers, A B A B; medians are shown, and the median of the pairs' ratios.
Markdown on stdout, progress on stderr.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import frames
import million
from client import Client
from load import command_line
from report import Line, Pair, alternate, arguments, gathered, in_pairs, print_lines
from run import say
from servers import Recipe, Server, environment, running
from workloads import DATA, ROOT

ZNODES = 100_000
MILLION = 1_000_000
CHILDREN = 1_000  # of each parent

EMBED = """\
import json, sys, time
import pyzkserver
def once():
    begin = time.perf_counter()
    with pyzkserver.Server():
        entered = time.perf_counter()
    return [entered - begin, time.perf_counter() - begin]
first = once()
print(json.dumps([first, *(once() for _ in range(int(sys.argv[1])))]))
"""


def start_lines(pair: Pair, args: argparse.Namespace) -> Iterator[Line]:
    for recipe in pair:
        with running(recipe):
            pass  # fills the disk's cache, and Python's of compiled modules
    line = Line("start to first answered request", "ms", 0, target=0.25)
    yield alternate(pair, args.repeats, line, watched, lambda server: server.startup * 1e3)


def watched(recipe: Recipe) -> AbstractContextManager[Server]:
    """Running, and seen to answer to the millisecond."""
    return running(recipe, poll=0.001)


def at_rest(server: Server) -> int:
    """Resident bytes, a second after the start.  One client has come and gone: it asked whether it serves."""
    time.sleep(max(0.0, 1 - (time.perf_counter() - server.answered)))
    return server.resident_bytes()


def rest_lines(pair: Pair, args: argparse.Namespace) -> Iterator[Line]:
    repeats = max(1, args.repeats // 3)
    line = Line("resident at rest", "MiB", 0, target=0.5)
    yield alternate(pair, repeats, line, watched, lambda server: at_rest(server) / 2**20)


@dataclass(frozen=True)
class Growth:
    """Resident bytes before and after 100,000 znodes; `collected`: after a full collection, where Java's."""

    before: int
    after: int
    collected: int | None


def znode_lines(pair: Pair, args: argparse.Namespace) -> Iterator[Line]:
    a, b = (growth(recipe) for recipe in pair)
    each = [(g.after - g.before) / ZNODES for g in (a, b)]
    yield Line(f"resident with {ZNODES:,} znodes", "MiB", a.after / 2**20, b.after / 2**20)
    yield Line("that per znode, above rest", "bytes", each[0], each[1])
    collected = [g.after if g.collected is None else g.collected for g in (a, b)]
    if (a.collected, b.collected) != (None, None):
        each = [(c - g.before) / ZNODES for c, g in zip(collected, (a, b), strict=True)]
        yield Line("resident, Java after a collection", "MiB", collected[0] / 2**20, collected[1] / 2**20)
        yield Line("that per znode, above rest", "bytes", each[0], each[1])


def growth(recipe: Recipe) -> Growth:
    with running(recipe) as server:
        before = at_rest(server)
        with Client(server.port) as client:
            for parent in range(ZNODES // CHILDREN):
                client.call_many(create(path) for path in family(parent))
        time.sleep(1)
        after = server.resident_bytes()
        collected = server.resident_bytes() if collect_garbage(server) else None
    say(f"{recipe.label}: {before / 2**20:.1f} MiB at rest, {after / 2**20:.1f} MiB with {ZNODES:,} znodes")
    return Growth(before, after, collected)


def family(parent: int) -> Iterator[str]:
    if parent == 0:
        yield ROOT
    yield f"{ROOT}/p{parent:03}"
    # the parent is one of the thousand
    yield from (f"{ROOT}/p{parent:03}/n{child:04}" for child in range(1, CHILDREN))


def create(path: str) -> tuple[int, bytes]:
    return frames.CREATE, frames.create_body(path, DATA)


def collect_garbage(server: Server) -> bool:
    """Ask a Java process for a full collection; whether there was one to ask.

    Only Java's: to others jcmd may send a signal that ends them.
    """
    jcmd = shutil.which("jcmd")
    java = [pid for pid in server.pids() if Path(f"/proc/{pid}/exe").resolve().name == "java"]
    if jcmd is None or not java:
        return False
    for pid in java:
        subprocess.run([jcmd, str(pid), "GC.run"], check=True, capture_output=True, timeout=60)
    time.sleep(1)
    return True


def million_lines(pair: Pair, args: argparse.Namespace) -> Iterator[Line]:
    """Ours has a data directory here, too."""
    seconds: tuple[list[float], list[float]] = ([], [])
    resident: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(1, args.repeats // 3)):
        for recipe, times, sizes in zip(pair, seconds, resident, strict=True):
            with running(replace(recipe, in_memory=False), fill=hold_a_million) as server:
                times.append(server.startup)
                sizes.append(at_rest(server) / 2**20)
            say(f"{recipe.label} on {MILLION:,} znodes: {times[-1]:.2f} s, then {sizes[-1]:.0f} MiB")
    yield in_pairs(Line(f"start on {MILLION:,} znodes", "s", 0, target=2), *seconds)
    yield in_pairs(Line("resident then", "MiB", 0, target=1), *resident)


def hold_a_million(data: Path) -> None:
    million.write(data, MILLION)


def python(*words: str) -> str:
    """Run this interpreter on these words in a fresh process; what it prints."""
    command = [sys.executable, *words]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)[:60]}… failed:\n{done.stderr[-2000:]}")
    return done.stdout


def embed_lines(_pair: Pair, _args: argparse.Namespace) -> Iterator[Line]:
    first, *times = json.loads(python("-c", EMBED, "50"))
    yield Line(
        "Server entered and left, imported before (median of 50)",
        "ms",
        median(t[1] for t in times) * 1e3,
        target=15,
    )
    yield Line("entered only", "ms", median(t[0] for t in times) * 1e3)
    yield Line("the first in a process, with what it imports late", "ms", first[1] * 1e3)


def import_lines(_pair: Pair, _args: argparse.Namespace) -> Iterator[Line]:
    def timed(code: str) -> float:
        begin = time.perf_counter()
        python("-c", code)
        return (time.perf_counter() - begin) * 1e3

    timed("import pyzkserver")  # compiles
    pairs = [(timed("import pyzkserver"), timed("pass")) for _ in range(10)]
    yield Line(
        "import pyzkserver (median of 10, less an empty interpreter)", "ms", median(a - b for a, b in pairs)
    )


SECTIONS = {
    "start": start_lines,
    "rest": rest_lines,
    "znodes": znode_lines,
    "million": million_lines,
    "embed": embed_lines,
    "import": import_lines,
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument(
        "--repeats", type=int, default=9, help="starts of each server (9); a third for memory"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = arguments(parser, SECTIONS)
    lines = gathered(SECTIONS, args)
    print_lines("", args, lines)
    if args.json:
        found = [{**asdict(line), "ratio": line.ratio} for line in lines]
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
