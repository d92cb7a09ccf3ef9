"""What the benchmarks of several sections share: the words of their command, measuring in pairs, and the report."""

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

from run import say, table
from servers import Recipe, add_server_arguments, exit_on_sigterm, recipes

T = TypeVar("T")

Pair = tuple[Recipe, Recipe]
Section = Callable[[Pair, argparse.Namespace], Iterator[T]]


@dataclass(frozen=True)
class Line:
    """One line of the report; `target` is the most that the ratio (or, where there is no b, a) may be."""

    what: str
    unit: str
    a: float
    b: float | None = None
    target: float | None = None
    pairs: tuple[float, ...] = ()  # the ratios of neighbours, where there are several
    at_least: bool = False  # the target is the least, not the most

    @property
    def ratio(self) -> float | None:
        if self.pairs:
            return median(self.pairs)
        return self.a / self.b if self.b else None

    def verdict(self) -> str:
        """✓ or ✗ only where all pairs agree, else ?."""
        if self.target is None:
            return ""
        ratio = self.ratio
        values = self.pairs or [self.a if ratio is None else ratio]
        reached = {value >= self.target if self.at_least else value <= self.target for value in values}
        mark = "?" if len(reached) > 1 else "✓" if True in reached else "✗"
        return f"{'≥' if self.at_least else '≤'} {self.target:g}{f' {self.unit}' if ratio is None else ''} {mark}"

    def cells(self) -> list[str]:
        a, b = (f"{value:,.1f} {self.unit}" if value is not None else "–" for value in (self.a, self.b))
        ratio = f"**{self.ratio:.2f}**" if self.ratio is not None else ""
        spread = f"{min(self.pairs):.2f}–{max(self.pairs):.2f}" if self.pairs else ""
        return [self.what, a, b, ratio, spread, self.verdict()]


def in_pairs(line: Line, a: Sequence[float], b: Sequence[float]) -> Line:
    """The line with the medians, and the ratios of neighbours."""
    ratios = tuple(x / y for x, y in zip(a, b, strict=True))
    return replace(line, a=median(a), b=median(b), pairs=ratios)


def alternate(
    pair: Pair,
    repeats: int,
    line: Line,
    running: Callable[[Recipe], AbstractContextManager[T]],
    measure: Callable[[T], float],
) -> Line:
    """Start A and B in turn, each afresh, and measure; the line with the medians and ratios filled in."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for recipe, values in zip(pair, found, strict=True):
            with running(recipe) as started:
                values.append(measure(started))
            say(f"{line.what}: {recipe.label} {values[-1]:,.1f} {line.unit}")
    return in_pairs(line, *found)


def arguments(parser: argparse.ArgumentParser, sections: Mapping[str, object]) -> argparse.Namespace:
    """Parse the words of a benchmark that has sections, of which --only chooses, and compares two servers."""
    names = ",".join(sections)
    parser.add_argument("--only", metavar="NAMES", default=names, help=f"({names})")
    add_server_arguments(parser)
    args = parser.parse_args()
    args.only = args.only.split(",")
    if unknown := set(args.only) - set(sections):
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(sections)}")
    exit_on_sigterm()
    return args


def gathered(sections: Mapping[str, Section[T]], args: argparse.Namespace) -> list[T]:
    """What the sections that are asked for find; how busy the machine was meanwhile is printed."""
    pair, load_before = recipes(args), os.getloadavg()[0]
    found = [one for name in args.only for one in sections[name](pair, args)]
    print(f"Load average: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after.\n")
    return found


def print_lines(what: str, args: argparse.Namespace, lines: Iterable[Line]) -> None:
    """The table of the two servers."""
    head = [what, *(recipe.label for recipe in recipes(args)), "ratio", "of the pairs", "target"]
    print(table(head, (line.cells() for line in lines)))
