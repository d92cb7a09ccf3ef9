"""Which proposals are committed, against a slow way that counts every proposal for itself."""

import random

import pytest

from pyzkserver.quorum.proposals import Proposals


class Majority:
    def __init__(self, *sids: int) -> None:
        self.sids = set(sids)

    def contains_quorum(self, sids: object) -> bool:
        return 2 * len(self.sids & set(sids)) > len(self.sids)  # type: ignore[call-overload]


class Slow:
    """``Leader.processAck`` and ``tryToCommit``: a set of acks for each proposal, committed one after the other."""

    def __init__(self, committed: int) -> None:
        self.committed = committed
        self.waiting: dict[int, tuple[list[Majority], set[int]]] = {}

    def propose(self, zxid: int, deciders: list[Majority], acked: dict[int, int]) -> None:
        self.waiting[zxid] = (deciders, set())

    def ack(self, sid: int, zxid: int) -> None:
        for number, (_, acks) in self.waiting.items():
            if number <= zxid:
                acks.add(sid)
        while (next_ := self.committed + 1) in self.waiting:
            deciders, acks = self.waiting[next_]
            if not all(members.contains_quorum(acks) for members in deciders):
                break
            del self.waiting[next_]
            self.committed = next_

    def forget(self, sid: int) -> None:
        for _, acks in self.waiting.values():
            acks.discard(sid)


def settle(proposals: Proposals) -> None:
    while (decided := proposals.decided()) > proposals.committed:
        proposals.commit(decided)


@pytest.mark.parametrize("seed", range(200))
def test_commits_are_those_of_the_slow_way(seed: int) -> None:
    """Random proposals, acks, lost connections and changes of configuration: the same prefix is committed."""
    rng = random.Random(seed)
    base = 1 << 32
    configs = [Majority(*range(1, rng.randrange(2, 7)))]
    proposals, slow = Proposals(base, configs), Slow(base)
    for _ in range(300):
        choice = rng.random()
        if choice < 0.4:
            zxid = proposals.proposed + 1
            proposals.propose(zxid)
            slow.propose(zxid, list(configs), proposals.acked)
        elif choice < 0.9 and proposals.outstanding:
            sid = rng.randrange(1, 7)
            zxid = rng.randrange(proposals.committed, proposals.proposed + 1)
            zxid = max(zxid, proposals.acked.get(sid, 0))
            proposals.ack(sid, zxid)
            settle(proposals)
            slow.ack(sid, zxid)
        elif choice < 0.95:
            sid = rng.randrange(1, 7)
            proposals.forget(sid)
            slow.forget(sid)
        else:
            new = Majority(*rng.sample(range(1, 7), rng.randrange(1, 6)))
            configs = [new] if rng.random() < 0.5 else [configs[-1], new]
            proposals.decide_by(configs)
        assert proposals.committed == slow.committed


def test_nothing_is_committed_before_a_quorum() -> None:
    """Two of three; and an ack for what was never proposed counts for no more than what was."""
    proposals = Proposals(10, [Majority(1, 2, 3)])
    for zxid in (11, 12, 13):
        proposals.propose(zxid)
    proposals.ack(1, 13)
    assert proposals.decided() == 10
    proposals.ack(2, 12)
    assert proposals.decided() == 12
    proposals.ack(7, 13)
    assert proposals.decided() == 12
    proposals.ack(2, 99)
    assert proposals.decided() == 13


def test_a_lost_connection_takes_its_acks_with_it() -> None:
    """What a member acknowledged before it reconnected it may have truncated since."""
    proposals = Proposals(0, [Majority(1, 2, 3)])
    proposals.propose(1)
    proposals.ack(2, 1)
    proposals.forget(2)
    proposals.ack(1, 1)
    assert proposals.decided() == 0


def test_a_configuration_in_force_decides_the_rest_alone() -> None:
    """What was proposed behind a reconfiguration does not wait for members that observe since it was committed."""
    old, new = Majority(1, 2, 3, 4), Majority(1, 3)
    proposals = Proposals(0, [old])
    proposals.decide_by([old, new])
    proposals.propose(1)
    proposals.decide_by([old, new])
    proposals.propose(2)
    for sid in (1, 2, 3):
        proposals.ack(sid, 1)
    assert proposals.decided() == 1
    proposals.commit(1)
    proposals.forget(2)
    proposals.ack(1, 2)
    proposals.ack(3, 2)
    assert proposals.decided() == 1
    proposals.decide_the_rest_by([new])
    assert proposals.decided() == 2
