"""Every call of the disk that a reconfiguration takes fails once, on the leader and on a follower.

What a member cannot keep ends that member, as a failed write of its log does, and nothing else: the connection of
whoever asked is not what breaks, no zxid is left out, and the members agree when it is back.
"""

import errno
import logging

import pytest
from serving.talk import create

from pyzkserver.wire.requests import OpCode, ReconfigRequest

from .member import SimMember
from .stage import Asker, Stage, play

WAYS = {
    "EIO": {"error": errno.EIO},
    "ENOSPC, half done": {"error": errno.ENOSPC, "half": True},
}


def victim_of(stage: Stage, leader: SimMember, who: str) -> SimMember:
    return leader if who == "leader" else stage.others(leader)[0]


def everybody_votes(stage: Stage) -> str:
    return stage.configuration.text.replace(":observer", ":participant").rpartition("\n")[0]


async def reconfigured(stage: Stage, asker: Asker) -> bool:
    """Ask for it, with a write before it and one behind; whether it was answered."""
    change = OpCode.RECONFIG, ReconfigRequest(None, None, everybody_votes(stage), -1)
    try:
        replies = await asker.ask(create("/before"), change, create("/behind"))
    except Asker.Gone:
        return False
    assert [reply.err for reply in replies] == [0, 0, 0]
    return True


def what_it_takes(who: str) -> list[str]:
    """The calls on that member's disk, where none fails."""
    calls: list[str] = []

    async def story(stage: Stage) -> None:
        leader = await stage.formed()
        asker = await stage.asker(leader)
        disk = victim_of(stage, leader, who).disk
        begun = disk.calls
        assert await reconfigured(stage, asker)
        await stage.settled()
        calls.extend(disk.journal[begun:])

    play(story, observers=1, reconfig_enabled=True, skip_acl=True)
    return calls


@pytest.mark.parametrize(
    ("who", "way"), [("leader", "EIO"), ("leader", "ENOSPC, half done"), ("follower", "EIO")]
)
def test_each_call_fails_once(who: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """The member says what could not be written and ends.  When it is back, all have one configuration; and what
    the client was told is so."""
    caplog.set_level(logging.ERROR)
    calls = what_it_takes(who)
    assert {"rename members", "rename members.next", "sync directory version-2"} <= set(calls)
    last = max(number for number, what in enumerate(calls, 1) if what == "rename members") + 1
    answered = set()
    for call in range(1, last + 1):
        what = f"{who}, call {call}: {calls[call - 1]}"

        async def story(stage: Stage, call: int = call, what: str = what) -> None:
            leader = await stage.formed()
            asker = await stage.asker(leader)
            victim = victim_of(stage, leader, who)
            victim.disk.fail_at(call, **WAYS[way])  # type: ignore[arg-type]
            answers = await reconfigured(stage, asker)
            answered.add(answers)
            await stage.until(lambda: stage.said("gives up"))
            (last_words,) = stage.said("gives up")
            assert victim.address in last_words or f"m{victim.sid}" in last_words, what
            assert "cannot" in last_words, what
            assert "/version-2/" in last_words, what
            assert "Input/output error" in last_words or "No space left" in last_words, what
            await stage.settled()
            processes = [member.process for member in stage.members]
            peers = [process.peer for process in processes if process is not None]
            members = [peer.members for peer in peers if peer is not None]
            assert len({each.text for each in members}) == 1, what
            assert not answers or len(members[0].voting) == 4, what

        play(story, observers=1, reconfig_enabled=True, skip_acl=True)
    assert not [record for record in caplog.records if record.exc_info], "nothing came as a surprise"
    assert answered == {True, False} or who == "follower"
