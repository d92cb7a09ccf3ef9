"""``python -m sim SEED`` or ``python -m sim --seeds 0-19999``, from ``tests/``: let worlds run, tell of what fails.

One seed is told whole, with everything that was said; of many only the failures, each with the end of its story.
"""

import argparse
import logging
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

from .changing import ChangingWorld
from .ensemble import Failed, World, live
from .tally import OCCASIONS

AT_ONCE = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="let this world run, and tell its story")
    parser.add_argument("--seeds", help="FIRST-LAST: let all these worlds run")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="how many at a time (all cores)"
    )
    parser.add_argument("--keep-going", type=int, default=5, metavar="N", help="stop after N failures (5)")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing new after so many")
    parser.add_argument("--changing", action="store_true", help="worlds whose members are reconfigured")
    parser.add_argument("--pings", action="store_true", help="with one seed: tell of pings, too")
    parser.add_argument(
        "--story", type=int, default=60, metavar="LINES", help="how much of a failure's story (60)"
    )
    arguments = parser.parse_args()
    logging.disable()  # the stories tell it better
    if arguments.seed is not None:
        return tell(world_of(arguments.seed, arguments.changing), pings=arguments.pings)
    if not arguments.seeds:
        parser.error("a seed, or --seeds FIRST-LAST")
    first, _, last = arguments.seeds.partition("-")
    return run_many(int(first), int(last or first), arguments)


def world_of(seed: int, changing: bool) -> World:
    """One of either kind."""
    return ChangingWorld(seed) if changing else World(seed)


def tell(world: World, *, pings: bool) -> int:
    """One world, in every detail."""
    failure = None
    try:
        live(world.seed, world)
    except Failed as error:
        failure = str(error).partition("\n\n")[0]
    print("\n".join(world.transcript.lines(pings=pings)))
    print(failure or f"seed {world.seed}: all is well; {world.summary()}")
    return 1 if failure else 0


class Some(NamedTuple):
    """What came of some worlds."""

    worlds: int
    counts: Counter[str]
    """How often each thing happened."""
    having: Counter[str]
    """In how many worlds it did."""
    failures: list[tuple[int, str]]


def run_some(first: int, last: int, changing: bool) -> Some:
    """These worlds, one after the other, in this process."""
    some = Some(last - first + 1, Counter(), Counter(), [])
    for seed in range(first, last + 1):
        world = world_of(seed, changing)
        try:
            live(seed, world)
        except Failed as error:
            some.failures.append((seed, str(error)))
        some.counts.update(world.counts)
        some.having.update(what for what, number in world.counts.items() if number)
    return some


def run_many(first: int, last: int, arguments: argparse.Namespace) -> int:
    """All these worlds, in several processes, as far as time and failures allow."""
    started = time.monotonic()
    counts: Counter[str] = Counter()
    having: Counter[str] = Counter()
    done = failed = 0
    with ProcessPoolExecutor(arguments.processes) as pool:
        jobs = [
            pool.submit(run_some, start, min(start + AT_ONCE - 1, last), arguments.changing)
            for start in range(first, last + 1, AT_ONCE)
        ]
        for job in as_completed(jobs):
            some = job.result()
            counts.update(some.counts)
            having.update(some.having)
            done += some.worlds
            for _, story in some.failures:
                failed += 1
                head, _, tale = story.partition("\n\n")
                print(f"{head}\n\n" + "\n".join(tale.splitlines()[-arguments.story :]) + "\n", flush=True)
            took = time.monotonic() - started
            if done % 1000 < some.worlds:
                print(f"{done} worlds in {took:.0f} s, {failed} failed", flush=True)
            if failed >= arguments.keep_going or took > arguments.minutes * 60:
                pool.shutdown(cancel_futures=True)
                break
    took = time.monotonic() - started
    print(f"{done} worlds in {took:.0f} s, {failed} failed; in 1,000 of them (and in how many at all):")
    for what in (*OCCASIONS, *sorted(counts.keys() - set(OCCASIONS))):
        print(f"{1000 * counts[what] / done:10.0f} {what} ({1000 * having[what] / done:.0f})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
