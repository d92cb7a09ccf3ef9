"""The protocol, broken on purpose, one promise at a time: the seeds find each.

What finds nothing proves nothing.  Each case says how often worlds of the usual kind have to be tried (it is
found in the first few), and by what it should be noticed.
"""

from typing import Any

import pytest

from pyzkserver.quorum import ballot, catching_up
from pyzkserver.quorum.following import Following
from pyzkserver.quorum.history import History
from pyzkserver.quorum.leader import Leader
from pyzkserver.quorum.proposals import Proposals
from pyzkserver.quorum.syncplan import Plan, Sources
from pyzkserver.state.queries import Queries
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.epochs import ACCEPTED_EPOCH, CURRENT_EPOCH, Epochs
from pyzkserver.storage.store import Store
from pyzkserver.wire.requests import OpCode

from . import test_named_scenarios as scenarios
from .ensemble import Failed, live

MOST = 60
"""Worlds that are tried."""


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def found(**shape: Any) -> str:
    """What was wrong in the first world in which something was."""
    for seed in range(MOST):
        try:
            live(seed, **shape)
        except Failed as failure:
            return str(failure).partition("\n\n")[0]
    return f"nothing was found in {MOST} worlds"


def test_nothing_is_found_where_nothing_is_broken() -> None:
    """See ``test_ensembles.py`` for more of these."""
    live(0)


def test_commit_before_a_quorum(broken: pytest.MonkeyPatch) -> None:
    """The leader commits what its own disk holds."""

    def decided(proposals: Proposals) -> int:
        return max(proposals.acked.values(), default=proposals.committed)

    broken.setattr(Proposals, "decided", decided)
    assert "which no quorum holds for sure" in found()


def test_truncation_is_skipped(broken: pytest.MonkeyPatch) -> None:
    """A learner says that it forgot what was never committed, and keeps it in its log."""

    async def truncate(history: History, zxid: int) -> None:
        history.tree.last_zxid = zxid

    broken.setattr(History, "truncate", truncate)
    # In random worlds somebody has mostly written before such a leader is back, and then it gets a tree.
    with pytest.raises(Failed, match=r"[aA]greement|PrefixConsistency|recovery|assert"):
        scenarios.test_what_a_lonely_leader_proposed_is_taken_back(False)


def test_acknowledged_before_the_flush(broken: pytest.MonkeyPatch) -> None:
    """A follower acknowledges a proposal when it has been handed to the log."""
    log = Following._log

    def log_and_acknowledge(following: Following, zxid: int, payload: bytes) -> None:
        log(following, zxid, payload)
        following.logged = zxid
        following.on_durable()

    broken.setattr(Following, "_log", log_and_acknowledge)
    assert "may lose it in a crash" in found()


def test_nothing_is_synced() -> None:
    """forceSync=no: fast, and no promise of anything."""
    assert "may lose it in a crash" in found(force_sync=False)


def test_an_accepted_epoch_is_forgotten(broken: pytest.MonkeyPatch) -> None:
    """A member accepts an epoch and does not write it down: after a crash it would accept an older one."""
    keep = Epochs._keep
    broken.setattr(
        Epochs,
        "_keep",
        lambda epochs, name, epoch: keep(epochs, name, epoch) if name != ACCEPTED_EPOCH else None,
    )
    assert "Leadership" in found()


def test_a_current_epoch_is_forgotten(broken: pytest.MonkeyPatch) -> None:
    """A member follows a leader and does not write that down: after a crash its vote would be that of long ago."""
    keep = Epochs._keep
    broken.setattr(
        Epochs,
        "_keep",
        lambda epochs, name, epoch: keep(epochs, name, epoch) if name != CURRENT_EPOCH else None,
    )
    assert "acknowledges to follow epoch" in found()


def test_two_leaders_in_one_epoch(broken: pytest.MonkeyPatch) -> None:
    """A new leader takes the last epoch once more, and everybody is content with that."""
    epoch_for, accept_epoch = Leader.epoch_for, Leader.accept_epoch

    async def same_epoch(leader: Leader, sid: int, accepted: int) -> int:
        return await epoch_for(leader, sid, max(accepted - 1, 0))

    async def accept_again(leader: Leader, sid: int, current: int, last_zxid: int) -> None:
        return await accept_epoch(leader, sid, max(current, 0), last_zxid)

    broken.setattr(Leader, "epoch_for", same_epoch)
    broken.setattr(Leader, "accept_epoch", accept_again)
    wrong = found()
    assert "both lead epoch" in wrong or "TotalOrder" in wrong


def test_the_history_is_acknowledged_before_it_is_safe(broken: pytest.MonkeyPatch) -> None:
    """A learner takes over its leader's tree, says so, and would write the snapshot later."""

    def save_snapshot(store: Store, tree: DataTree, sessions: dict[int, int]) -> None:
        store.history_begins = tree.last_zxid

    broken.setattr(Store, "save_snapshot", save_snapshot)
    assert "may lose" in found()


def test_served_before_a_quorum_holds_the_history(broken: pytest.MonkeyPatch) -> None:
    """A leader does not wait for the acknowledgements of NEWLEADER."""

    async def at_once(leader: Leader, sid: int, zxid: int) -> None:
        leader.established.set()

    broken.setattr(Leader, "holds_history", at_once)
    assert "which no quorum follows for sure" in found()


def test_the_worst_is_elected(broken: pytest.MonkeyPatch) -> None:
    """Of two members the one with less of the history wins; and nobody looks at that again."""
    accept_epoch = Leader.accept_epoch

    def exceeds(members: Any, new: ballot.Vote, current: ballot.Vote) -> bool:
        return (-new.peer_epoch, -new.zxid, new.leader) > (-current.peer_epoch, -current.zxid, current.leader)

    async def accept(leader: Leader, sid: int, current: int, last_zxid: int) -> None:
        return await accept_epoch(
            leader, sid, min(current, leader._summary[0]), min(last_zxid, leader._summary[1])
        )

    broken.setattr(ballot, "exceeds", exceeds)
    broken.setattr(Leader, "accept_epoch", accept)
    assert "PrimaryIntegrity" in found()


def test_a_difference_that_leaves_something_out(broken: pytest.MonkeyPatch) -> None:
    """A learner that lacks something is told that it lacks nothing."""

    def plan(peer_last: int, *, processed: int, **more: Any) -> Plan:
        return Plan(Sources.NOWHERE, ("DIFF", processed))

    broken.setattr(catching_up, "plan_sync", plan)
    wrong = found()
    assert any(name in wrong for name in ("PrefixConsistency", "Agreement", "PrimaryIntegrity"))


def test_applied_when_it_is_proposed(broken: pytest.MonkeyPatch) -> None:
    """A follower shows, and answers, what nobody has decided yet."""
    proposed, committed = Following.proposed, Following.committed

    def at_once(following: Following, payload: bytes) -> Transaction:
        txn = proposed(following, payload)
        committed(following, txn.zxid)
        return txn

    def later(following: Following, zxid: int) -> Any:
        class Done:
            txn = Transaction(0, 0, zxid, 0, OpCode.ERROR, None)
            payload = b""

        return Done()

    broken.setattr(Following, "proposed", at_once)
    broken.setattr(Following, "committed", later)
    assert any(
        name in found() for name in ("which no quorum holds for sure", "PrefixConsistency", "Integrity")
    )


def test_a_follower_applies_something_else(broken: pytest.MonkeyPatch) -> None:
    """Now and then something is changed on one member that nobody asked for."""
    apply = Following._apply

    def forgetful(following: Following, proposal: Any) -> None:
        apply(following, proposal)
        if proposal.zxid % 20 == 7 and following.replica.tree.nodes.get("/r/a"):
            following.replica.tree.nodes["/r/a"].version += 1
            following.replica.tree.nodes["/r/a"].changed()

    broken.setattr(Following, "_apply", forgetful)
    assert "agreement" in found().lower()


def test_watches_are_not_told(broken: pytest.MonkeyPatch) -> None:
    """Those of clients that come to another member."""
    broken.setattr(Queries, "set_watches", lambda *anything: b"")
    assert "was not told" in found()
