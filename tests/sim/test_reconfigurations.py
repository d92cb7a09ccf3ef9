"""Ensembles whose members change while everything else goes wrong: nothing they promise is broken.

What the checker takes for a quorum is one of a configuration that some running member has in force.
``SIM_RECONFIG_SEEDS`` runs more worlds than the default; ``python -m sim --changing --seeds 0-999`` many more.
"""

import os

import pytest
import trio
from serving.talk import Call, create

from pyzkserver.wire.requests import OpCode, ReconfigRequest

from .changing import ChangingWorld
from .ensemble import live
from .member import SimMember
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
        leader = await proposed_in_vain(stage)
        await stage.formed(*(each.sid for each in stage.others(leader)))
        await stage.settled()
        assert leader.process is not None
        assert leader.process.peer is not None
        assert leader.process.peer.members.observing

    play(story, observers=1, reconfig_enabled=True, skip_acl=True)


@pytest.mark.parametrize("again", [False, True])
def test_a_reconfiguration_that_was_taken_back_is_forgotten(again: bool) -> None:
    """With the history of another leader a member takes over what that one knows of configurations, and asks the
    voters of its own no more: not even when it has started ``again`` since (``Learner.syncWithLeader``)."""

    async def story(stage: Stage) -> None:
        before = await proposed_in_vain(stage)
        third, second, *_ = sorted(stage.others(before), key=lambda each: each.sid)
        leader = await stage.formed(*(each.sid for each in stage.others(before)))
        await stage.settled()
        if again:
            before.crash()
            before.start(stage.nursery)
            await stage.formed()
        follower = second if leader is third else third
        # Three of four would be needed in the one that was taken back.
        leader.crash()
        stage[4].crash()
        await stage.formed(before.sid, follower.sid)
        await stage.settled()
        assert before.process is not None
        assert before.process.peer is not None
        assert before.process.peer.members.observing

    play(story, observers=1, reconfig_enabled=True, skip_acl=True)


def test_a_reconfiguration_that_is_in_no_log() -> None:
    """The leader's power fails when it has kept what it is about to propose, and before its log has that.  It was
    acknowledged by nobody here, so its voters need not be asked: if others hold it, one of those is elected."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        await asker.do(create("/a"))
        stage.cut_off(leader)
        leader.host.flusher.hold()
        await asker.send(everybody_votes(stage))
        await trio.sleep(0.1)
        seen(leader)
        leader.crash()
        other, dead, observer = stage.others(leader)
        dead.crash()
        observer.crash()
        stage.heal()
        leader.start(stage.nursery)
        await stage.formed(leader.sid, other.sid)
        await stage.settled()
        assert leader.process is not None
        assert leader.process.peer is not None
        assert leader.process.peer.members.observing

    play(story, observers=1, reconfig_enabled=True, skip_acl=True)


def test_a_reconfiguration_that_all_logs_hold_is_completed() -> None:
    """All members have it, the leader hears of none that does, and all lose their power.  Whoever leads next
    completes it, with quorums of both."""

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        await asker.do(create("/a"))
        for other in stage.others(leader):
            stage.network.block(other.address, leader.address)
        leader.host.flusher.hold()
        await asker.send(everybody_votes(stage))
        await trio.sleep(0.05)
        for member in stage.members:
            member.crash()
        await stage.settled()
        assert stage.said("COMMITANDACTIVATE") == []
        for member in stage.members:
            assert member.process is not None
            assert member.process.peer is not None
            assert len(member.process.peer.members.voting) == 4

    play(story, observers=1, reconfig_enabled=True, skip_acl=True)


@pytest.mark.parametrize("call", range(5, 17))
def test_what_is_taken_back_is_forgotten_with_it(call: int) -> None:
    """Not before: as long as its log holds a proposed configuration, a member knows of that, also where its power
    fails while it takes over a tree that lacks it."""

    async def story(stage: Stage) -> None:
        before = await proposed_in_vain(stage)
        await stage.until(lambda: before.tree is None)
        held = before.held
        assert held is not None
        last = held.last_zxid
        leader = await stage.formed(*(each.sid for each in stage.others(before)))
        await (await stage.asker(leader)).do(create("/b"))
        before.disk.power_off_at(call)
        lives = before.lives
        stage.heal()
        await stage.until(lambda: before.process is None or before.tree is not None)
        if before.process is None:
            stage.cut_off(before)
            await stage.until(lambda: before.lives > lives and before.held is not None)
            held = before.held
            assert held is not None
            if held.last_zxid == last:
                seen(before)
        await stage.settled()
        assert bool(stage.said("SNAP")), "it was sent a tree"

    play(story, observers=1, reconfig_enabled=True, skip_acl=True)


def everybody_votes(stage: Stage) -> Call:
    everybody = stage.configuration.text.replace(":observer", ":participant").splitlines()[:-1]
    return OpCode.RECONFIG, ReconfigRequest(None, None, "\n".join(everybody), -1)


def seen(member: SimMember) -> None:
    """It knows of a configuration that is not in force."""
    assert member.process is not None
    assert member.process.peer is not None
    assert member.process.peer.next_members is not None


async def proposed_in_vain(stage: Stage) -> SimMember:
    """The leader is cut off, and proposes that all are to vote.  It has that in its log, and nobody else has."""
    leader = await stage.formed()
    asker = await stage.asker(leader)
    await asker.do(create("/a"))
    stage.cut_off(leader)
    await asker.send(everybody_votes(stage))
    await trio.sleep(0.1)
    seen(leader)
    return leader


@pytest.mark.parametrize("who", ["voter", "observer"])
def test_who_comes_while_a_reconfiguration_is_under_way(who: str) -> None:
    """It is told of it, and goes by what is in force until it hears that it is decided.

    (Apache's goes by the new one at once.  It tells that one to others, who take it over as well: two members that
    are to be the only ones elect a leader, and so do the three that know of nothing.)
    """

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        assert leader.sid == 5
        asker = await stage.asker(leader)
        await asker.do(create("/a"))
        for member in stage.members[:5]:
            member.host.flusher.hold()
        lines = stage.configuration.text.splitlines()[:2]
        await asker.send((OpCode.RECONFIG, ReconfigRequest(None, None, "\n".join(lines), -1)))
        await trio.sleep(0.1)
        late = stage[1] if who == "voter" else stage[6]
        late.crash()
        late.start(stage.nursery)
        await stage.until(lambda: late.tree is not None)
        assert late.process is not None
        assert late.process.peer is not None
        assert len(late.process.peer.members.voting) == 5
        assert (late.process.peer.next_members is not None) is (who == "voter")
        for member in stage.members[:5]:
            member.crash()
        await stage.settled()

    play(story, voters=5, observers=1, reconfig_enabled=True, skip_acl=True)
