"""Whole ensembles with clients, crashes, torn disks, partitions and half-open links: nothing they promise is broken.

200 seeds by default.  ``python -m sim --seeds 0-19999``, from ``tests/``, runs others, and ``python -m sim 17``
tells the story of one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .ensemble import live

SEEDS = int(os.environ.get("SIM_SEEDS", "200"))
FIRST = int(os.environ.get("SIM_FIRST_SEED", "0"))
AT_ONCE = 10


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_what_an_ensemble_promises(first: int) -> None:
    """The invariants of the specification hold at every moment; what clients were told is true, in order, and
    lasts; when everything is mended all of them get somewhere, and the members become alike."""
    for seed in range(first, min(first + AT_ONCE, FIRST + SEEDS)):
        live(seed)


def test_one_seed_is_one_story() -> None:
    """The same in another process, where strings hash to something else: a failure can be looked at again."""
    stories = []
    for hash_seed in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-m", "sim", "3", "--pings"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        stories.append(process.stdout)
    assert stories[0] == stories[1]
    assert stories[0].count("PROPOSAL") > 20
    assert "all is well" in stories[0]
