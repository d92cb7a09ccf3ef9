"""Two servers side by side: every workload and shape in turn on both, alternating, and the table of ratios.

For each workload both servers are started afresh and warmed with it (Apache's needs its compiler to have seen
the code).  Then, for each shape, A and B are measured in turn, A B A B, and the ratio shown is the median of
the ratios of neighbours: what disturbs the machine disturbs both.  Progress goes to stderr, the tables
(Markdown) to stdout.

    python benchmarks/run.py                                   ours beside Debian's package `zookeeper`
    python benchmarks/run.py --quick --only get,set --shapes 1x1,10x100
    python benchmarks/run.py --server-b "env PYTHONPATH=/path/to/another python -m pyzkserver"
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from load import Load, Result, command_line, measure_ceiling
from servers import Others, Recipe, Server, add_server_arguments, exit_on_sigterm, recipes, running
from workloads import MEANINGS, WORKLOADS, Shape

SHAPES = "1x1,10x1,100x1,100x10,10x100"
DURABLE_TARGETS = {("set", "1×1"): 1.5, ("set", "10×100"): 2.0, ("create", "10×100"): 2.0}
TARGETS = {
    ("get", "1×1"): 3.0,
    ("get", "100×1"): 1.2,
    ("get", "100×10"): 2.0,
    ("get", "10×100"): 3.0,
    ("set", "10×100"): 2.0,
    ("create", "10×100"): 2.0,
}
# The share of the machine that others may take: above, servers of many threads and of one suffer unalike.
QUIET = 0.10


@dataclass(frozen=True)
class Sample:
    """One measurement of one server."""

    result: Result
    server_cpu_us: float  # processor time of the server per request
    others: float  # of all processors: what neither the server nor the generator used meanwhile, see Others


@dataclass(frozen=True)
class Cell:
    """A workload in a shape: the samples of both servers, in the order they were taken."""

    workload: str
    shape: str
    a: list[Sample]
    b: list[Sample]

    def ratios(self) -> list[float]:
        rates = [[s.result.requests_per_second for s in samples] for samples in (self.a, self.b)]
        return [a / b for a, b in zip(*rates, strict=True)]

    def target(self) -> float | None:
        return TARGETS.get((self.workload, self.shape))


def middle(samples: list[Sample], field: str) -> float:
    """The median of a field of the samples or of their results."""
    return float(
        median(getattr(s, field) if hasattr(s, field) else getattr(s.result, field) for s in samples)
    )


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def warm(server: Server, workload: str, seconds: float) -> None:
    """Let a just-in-time compiler see the workload, deep and shallow."""
    for shape, share in ((Shape(10, 100), 0.6), (Shape(10, 1), 0.4)):
        with Load(server.port, workload, shape) as load:
            load.run(seconds * share)


def sample(server: Server, workload: str, shape: Shape, args: argparse.Namespace) -> Sample:
    with Load(server.port, workload, shape) as load:
        load.run(args.warmup)
        cpu = server.cpu_seconds()
        meter = Others(server)
        result = load.run(args.seconds)
        cpu = server.cpu_seconds() - cpu
        others = meter.share()
    return Sample(result, round(cpu / result.requests * 1e6, 2), round(others, 3))


def compare(
    workload: str, shapes: list[Shape], pair: tuple[Recipe, Recipe], args: argparse.Namespace
) -> Iterator[Cell]:
    """All shapes of a workload, on a fresh pair of servers."""
    with ExitStack() as stack:
        servers = [stack.enter_context(running(recipe)) for recipe in pair]
        for server in servers:
            say(f"{workload}: warming {server.recipe.label} for {args.jit:g} s")
            warm(server, workload, args.jit)
        for shape in shapes:
            cell = Cell(workload, str(shape), [], [])
            for _ in range(args.repeats):
                for server, samples in zip(servers, (cell.a, cell.b), strict=True):
                    samples.append(sample(server, workload, shape, args))
                    rate = samples[-1].result.requests_per_second
                    say(f"{workload} {shape}: {server.recipe.label} {rate:,.0f}/s")
            yield cell


def versions(pair: tuple[Recipe, Recipe]) -> list[str]:
    """What the two servers say they are."""
    found = []
    for recipe in pair:
        with running(recipe) as server:
            found.append(f"{recipe.label} ({server.version()})")
    return found


def disturbed(cell: Cell) -> bool:
    """Whether others took so much of the machine that the ratio says little."""
    return max(middle(samples, "others") for samples in (cell.a, cell.b)) > QUIET


def verdict(cell: Cell) -> str:
    """✓ or ✗ only where all pairs agree and the machine was quiet, else ?."""
    target = cell.target()
    if target is None:
        return ""
    reached = {ratio >= target for ratio in cell.ratios()}
    if len(reached) > 1 or disturbed(cell):
        return f"≥ {target:g} ?"
    return f"≥ {target:g} {'✓' if True in reached else '✗'}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Markdown: the first two columns words, the others numbers."""
    head = list(head)
    lines = [head, [":--" if n < 2 else "--:" for n in range(len(head))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratios_table(cells: list[Cell], names: list[str]) -> str:
    head = ["workload", "conns×depth", *(f"{name} /s" for name in names), "ratio", "of the pairs", "target"]
    rows = []
    for cell in cells:
        ratios = sorted(cell.ratios())
        rates = [f"{middle(samples, 'requests_per_second'):,.0f}" for samples in (cell.a, cell.b)]
        spread = f"{ratios[0]:.2f}–{ratios[-1]:.2f}"
        rows.append([cell.workload, cell.shape, *rates, f"**{median(ratios):.2f}**", spread, verdict(cell)])
    return table(head, rows)


def details_table(cells: list[Cell], names: list[str]) -> str:
    fields = {
        "p50 µs": ("p50_us", ".0f"),
        "p99 µs": ("p99_us", ".0f"),
        "CPU µs/request": ("server_cpu_us", ".1f"),
        "generator busy": ("generator_cpu", ".0%"),
        "others": ("others", ".0%"),
    }
    head = ["workload", "conns×depth", *(f"{name} {field}" for field in fields for name in names)]
    rows = []
    for cell in cells:
        both = (cell.a, cell.b)
        numbers = [format(middle(s, field), style) for field, style in fields.values() for s in both]
        rows.append([cell.workload, cell.shape, *numbers])
    return table(head, rows)


def caution(cells: list[Cell]) -> list[str]:
    found = [f"{cell.workload} {cell.shape}" for cell in cells if disturbed(cell)]
    if not found:
        return []
    return [
        f"**Not to be relied on**: other processes took more than {QUIET:.0%} of the machine during "
        f"{len(found)} of {len(cells)} ({', '.join(found)})."
    ]


def report(cells: list[Cell], names: list[str], ceilings: list[Result], machine: dict[str, object]) -> str:
    parts = [
        f"{machine['servers']}; {machine['python']}, {machine['cpus']} processors, {machine['system']}; "
        f"load average before: {machine['load_before']}.",
        "Requests per second (medians) and their ratio (median of the pairs' ratios).",
        ratios_table(cells, names),
        *caution(cells),
        "Latency of a block (all requests that a connection keeps outstanding), processor time of the server "
        "per request, how busy the generator was (near 100 % of its processor, it is the limit) and how much "
        "of the machine other processes took (where that is much, repeat when it is quiet).",
        details_table(cells, names),
    ]
    if ceilings:
        rows = [["get", r.shape, f"{r.requests_per_second:,.0f}", f"{r.p50_us:.0f}"] for r in ceilings]
        parts.append("The generator's ceiling: a server in Python that does nothing but answer constants.")
        parts.append(table(["workload", "conns×depth", "requests /s", "p50 µs"], rows))
    names = list(dict.fromkeys(cell.workload for cell in cells))
    parts.append("\n".join(f"- {name}: {MEANINGS[name]}" for name in names))
    return "\n\n".join(parts)


def machine_facts(pair: tuple[Recipe, Recipe]) -> dict[str, object]:
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"warning: load average {load:.1f}, other things run on this machine")
    return {
        "servers": " and ".join(versions(pair)),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(load, 2),
    }


def arguments() -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("--only", metavar="NAMES", default=",".join(WORKLOADS), help="workloads (all)")
    parser.add_argument("--shapes", metavar="CxD,…", default=SHAPES, help=f"connections x depth ({SHAPES})")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (3)")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of measurements (5)")
    parser.add_argument("--warmup", type=float, default=0.3, help="seconds before each measurement (0.3)")
    parser.add_argument("--jit", type=float, default=8.0, help="seconds to warm each fresh server (8)")
    parser.add_argument("--quick", action="store_true", help="1 s measurements, 3 pairs, 5 s to warm")
    parser.add_argument("--no-ceiling", action="store_true", help="do not measure the generator itself")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all measurements, also the single ones")
    add_server_arguments(parser)
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.repeats, args.jit = 1.0, 3, 5.0
    args.only = args.only.split(",")
    if unknown := set(args.only) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    args.shapes = [Shape.parse(words) for words in args.shapes.split(",")]
    return args


def as_json(cell: Cell) -> dict[str, object]:
    return {**asdict(cell), "ratio": round(median(cell.ratios()), 3), "target": verdict(cell)}


def main() -> None:
    args = arguments()
    exit_on_sigterm()
    pair = recipes(args)
    if args.durable:
        TARGETS.clear()
        TARGETS.update(DURABLE_TARGETS)
    machine = machine_facts(pair)
    cells = [cell for workload in args.only for cell in compare(workload, args.shapes, pair, args)]
    ceilings = [] if args.no_ceiling else [measure_ceiling(shape, 1.0) for shape in args.shapes]
    print(report(cells, [recipe.label for recipe in pair], ceilings, machine))
    if args.json:
        found = {
            **machine,
            "seconds": args.seconds,
            "cells": [as_json(cell) for cell in cells],
            "ceilings": [asdict(result) for result in ceilings],
        }
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
