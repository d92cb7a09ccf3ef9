"""Servers that crash at random moments, again and again, and lose nothing that anybody was told of.

200 seeds by default.  ``SIM_SEEDS=5000 SIM_FIRST_SEED=1000 pytest tests/sim/test_crashes.py`` runs others, and
``SIM_SEEDS=1 SIM_FIRST_SEED=…`` the one that failed.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyzkserver.storage.recovery import DataDirectoryError

from .world import live

SEEDS = int(os.environ.get("SIM_SEEDS", "200"))
FIRST = int(os.environ.get("SIM_FIRST_SEED", "0"))
AT_ONCE = 10


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_nothing_acknowledged_is_lost(first: int) -> None:
    """Power failures, kills, full and dead disks, at any call and any time, during recovery too.

    After each: no acknowledged write is lost, no refused one shows, multis are whole or absent, what was read
    is still true, sessions go on, and the tree is what the logged transactions lead to, digest included.
    """
    for seed in range(first, min(first + AT_ONCE, FIRST + SEEDS)):
        live(seed)


def test_a_disk_that_writes_in_any_order() -> None:
    """Sectors of one unsynced group may be kept without those before them.

    Then a log has a hole that looks like damage.  It is refused, and the message names the file and the byte;
    or all is as it should be.  Never is anything lost in silence.
    """
    refusals = [refusal for refusal in map(refused, range(24, 44)) if refusal]
    assert len(refusals) < 20
    assert all("version-2/log." in refusal and "damaged at byte" in refusal for refusal in refusals)


def refused(seed: int) -> str:
    """What a server said that refused to start in this world; nothing where none did."""
    try:
        live(seed, scattered=True)
    except AssertionError as failure:
        if isinstance(failure.__cause__, DataDirectoryError):
            return str(failure.__cause__)
        raise
    return ""


def test_one_seed_is_one_story() -> None:
    """The same in another process, where strings hash to something else: a failure can be looked at again."""
    script = "from sim.world import live; print(*live(1).book.trace, sep='\\n')"
    stories = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        stories.append(process.stdout)
    assert stories[0] == stories[1]
    assert stories[0].count("hears") > 100
