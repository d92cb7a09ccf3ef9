"""Ensembles whose members change while everything else goes wrong: nothing they promise is broken.

What the checker takes for a quorum is one of a configuration that some running member has in force.
``SIM_RECONFIG_SEEDS`` runs more worlds than the default; ``python -m sim --changing --seeds 0-999`` many more.
"""

import os

import pytest
import trio
from serving.talk import create

from pyzkserver.wire.requests import OpCode, ReconfigRequest

from .changing import ChangingWorld
from .ensemble import live
from .stage import Stage, play

SEEDS = int(os.environ.get("SIM_RECONFIG_SEEDS", "60"))
AT_ONCE = 15


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_what_an_ensemble_promises_while_its_members_change(first: int) -> None:
    """As ``test_ensembles``; and in most worlds the members really change."""
    changed = 0
    for seed in range(first, first + AT_ONCE):
        world = live(seed, ChangingWorld(seed))
        changed += "reconfigured" in world.counts
    assert changed, "nobody was reconfigured"


def test_a_reconfiguration_that_was_proposed_and_never_decided() -> None:
    """The leader that proposed it is cut off with it; the others go on without.  When it is back it has to join
    them, although those do not make a quorum of the configuration that only it has seen.

    (Found by the seeds: it looked for a leader for ever.)
    """

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        await asker.do(create("/a"))
        stage.cut_off(leader)
        everybody = stage.configuration.text.replace(":observer", ":participant").splitlines()[:-1]
        await asker.send((OpCode.RECONFIG, ReconfigRequest(None, None, "\n".join(everybody), -1)))
        await trio.sleep(0.1)
        assert leader.process is not None
        assert leader.process.peer is not None
        assert leader.process.peer.next_members is not None
        await stage.formed(*(each.sid for each in stage.others(leader)))
        await stage.settled()
        assert leader.process.peer.members.observing

    play(story, observers=1, reconfig_enabled=True, skip_acl=True)
