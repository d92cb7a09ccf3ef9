"""The lane of one client: a read waits behind the writes before it, and behind nothing else."""

from collections.abc import Callable

import pytest

from pyzkserver.replica.lane import Lane
from pyzkserver.replica.replica import Proposal
from pyzkserver.wire.requests import OpCode


def write() -> Proposal:
    return Proposal(OpCode.CREATE, None, 1)


def reads(done: list[str]) -> Callable[[str], Callable[[], None]]:
    return lambda name: lambda: done.append(name)


def test_reads_wait_for_the_writes_before_them() -> None:
    """Each read has its turn when its own last write is answered, before the next write is."""
    lane, done = Lane(), []
    read = reads(done)
    first, second = write(), write()
    lane.enter(first)
    lane.wait(read("a"))
    lane.wait(read("b"))
    lane.enter(second)
    lane.wait(read("c"))
    assert (len(lane), lane.writes, done) == (5, 2, [])
    lane.leave(first)
    assert (len(lane), lane.writes, done) == (2, 1, ["a", "b"])
    lane.leave(second)
    assert (len(lane), lane.writes, done) == (0, 0, ["a", "b", "c"])


def test_writes_stand_one_behind_the_other() -> None:
    """Without reads between them, leaving one does not touch the next."""
    lane = Lane()
    first, second = write(), write()
    lane.enter(first)
    lane.enter(second)
    lane.leave(first)
    assert (len(lane), lane.writes) == (1, 1)
    lane.leave(second)
    assert not lane


def test_writes_leave_in_the_order_they_entered() -> None:
    """Anything else would mix up a client's replies: a mistake of ours, and told as one."""
    lane = Lane()
    lane.enter(write())
    second = write()
    lane.enter(second)
    with pytest.raises(AssertionError, match="in the order they were submitted"):
        lane.leave(second)


def test_an_idle_lane_is_no_place_to_wait() -> None:
    """Nobody would ever call this read."""
    with pytest.raises(AssertionError):
        Lane().wait(lambda: None)


def test_an_abandoned_lane_forgets_its_reads() -> None:
    """The client is gone: what it wanted to know matters to nobody."""
    lane, done = Lane(), []
    lane.enter(write())
    lane.wait(reads(done)("a"))
    lane.abandon()
    assert (len(lane), lane.writes, done) == (0, 0, [])
