"""The protocol, broken on purpose, one promise at a time: the seeds of the default run find each.

What finds nothing proves nothing.  Each case says by what it should be noticed.  Those that need members of a certain
kind try only worlds with such.
"""

from collections.abc import Callable
from typing import Any

import pytest

from pyzkserver.errors import ErrorCode
from pyzkserver.quorum import ballot, catching_up, following, leading
from pyzkserver.quorum.following import Following
from pyzkserver.quorum.history import History
from pyzkserver.quorum.leader import Leader
from pyzkserver.quorum.local import Local
from pyzkserver.quorum.members import Members
from pyzkserver.quorum.proposals import Proposals
from pyzkserver.quorum.reading import ReadOnly
from pyzkserver.quorum.syncplan import Plan, Sources
from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.state.prepare import Preparer
from pyzkserver.state.queries import Queries
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import Applied, DataTree
from pyzkserver.storage.epochs import ACCEPTED_EPOCH, CURRENT_EPOCH, Epochs
from pyzkserver.storage.store import Store
from pyzkserver.wire.requests import OpCode

from .ensemble import Failed, World, live

MOST = 200
"""Worlds that are tried: those of the default run."""


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def found(wanted: Callable[[World], object] = lambda world: True, **shape: Any) -> str:
    """What was wrong in the first world of these in which something was."""
    for seed in range(MOST):
        world = World(seed, **shape)
        if not wanted(world):
            continue
        try:
            live(seed, world)
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
    wrong = found()
    assert any(name in wrong for name in ("Agreement", "PrefixConsistency", "recovery"))


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


# --- members and sessions of other kinds --------------------------------------------------------------------


def read_only(world: World) -> object:
    return world.config["read_only_mode_enabled"]


def local_sessions(world: World) -> object:
    return world.config["local_sessions_enabled"]


def test_a_read_only_member_lets_clients_write(broken: pytest.MonkeyPatch) -> None:
    """It says so, and nothing happens."""

    def submit(role: ReadOnly, proposal: Proposal) -> None:
        if proposal.origin is not None:
            proposal.origin.committed(proposal, Applied(int(OpCode.ERROR), int(ErrorCode.NO_NODE)))

    broken.setattr(ReadOnly, "submit", submit)
    assert "written where nobody may write" in found(read_only)


def test_a_read_only_member_shows_something_else(broken: pytest.MonkeyPatch) -> None:
    """What it holds, and something that nobody wrote."""
    new = Local.new_reading_replica

    def made_up(local: Local) -> Replica:
        replica = new(local)
        for name in "abc":
            node = replica.tree.nodes.get(f"/r/{name}")
            if node is not None:
                node.data = b"made up"
                node.changed()
        return replica

    broken.setattr(Local, "new_reading_replica", made_up)
    wrong = found(read_only)
    assert "untrue" in wrong or "greement" in wrong


def test_a_local_session_has_ephemeral_nodes(broken: pytest.MonkeyPatch) -> None:
    """Without being told to all members."""
    for module in (following, leading):
        broken.setattr(module, "creates_ephemeral", lambda op, request: False)
    broken.setattr(Preparer, "_judge_global", lambda *anything: None)
    assert "has ephemeral nodes, and nobody knows it" in found(local_sessions)


def test_local_sessions_are_told_to_all(broken: pytest.MonkeyPatch) -> None:
    """As if they were global ones."""
    for role in (following.Following, leading.Leading):
        broken.setattr(
            role,
            "opens_local_sessions",
            property(lambda role: False, lambda role, value: None),
            raising=False,
        )
    assert "became a transaction" in found(local_sessions)


def test_weights_do_not_count(broken: pytest.MonkeyPatch) -> None:
    """Any majority is taken for a quorum."""
    broken.setattr(
        Members,
        "contains_quorum",
        lambda members, sids: len(set(sids) & members.voting.keys()) > len(members.voting) // 2,
    )
    wrong = found(lambda world: world.configuration.hierarchical)
    assert "which no quorum" in wrong
