"""Members in one process, by virtual time: they agree, go on without one of them, and take it back."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from pyzkserver.errors import ErrorCode
from pyzkserver.quorum.members import Members
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.wire.election import ServerState
from pyzkserver.wire.requests import CreateRequest, OpCode

from .stage import Client, Stage, run


def staged(voting: int = 3, observing: int = 0, **settings: Any) -> Any:
    """A test whose argument is a stage."""

    def wrap(test: Callable[[Stage], Awaitable[None]]) -> Callable[[], None]:
        def runs() -> None:
            async def scenario() -> None:
                async with trio.open_nursery() as nursery:
                    await test(Stage(nursery, voting, observing, **settings))
                    nursery.cancel_scope.cancel()

            run(scenario)

        runs.__name__, runs.__doc__ = test.__name__, test.__doc__
        return runs

    return wrap


@staged()
async def test_an_ensemble_forms_and_replicates(stage: Stage) -> None:
    """What is written at any member is soon the same at all."""
    await stage.start()
    await stage.formed()
    for member in stage.running():
        client = await Client.new(member.replica)
        await client.create(f"/m{member.sid}", b"data")
        await client.set(f"/m{member.sid}", b"more")
    await stage.until_same()
    assert "/m1" in stage.all[2].replica.tree.nodes
    assert all(len(member.replica.sessions) == 3 for member in stage.running())


@staged(voting=3, observing=1)
async def test_what_monitoring_is_told(stage: Stage) -> None:
    """Who leads says how many learn from it; the others have no such numbers (mntr's zk_synced_followers …)."""
    await stage.start()
    leader = await stage.formed()
    await stage.until(lambda: leader.replica.role.gauges()["learners"] == 3)
    assert leader.replica.role.gauges() == {
        "learners": 3,
        "synced_followers": 2,
        "synced_observers": 1,
        "pending_syncs": 0,
        "synced_non_voting_followers": 0,
        "leader_uptime": leader.replica.host.elapsed_ms() - leader.replica.role.began_ms,
        "last_proposal_size": -1,
        "max_proposal_size": -1,
        "min_proposal_size": -1,
    }
    others = [member.replica.role for member in stage.running() if member is not leader]
    assert [role.gauges() for role in others] == [{}, {}, {}]
    assert sorted(role.mode for role in others) == ["follower", "follower", "observer"]


@staged()
async def test_a_leader_is_replaced(stage: Stage) -> None:
    """Killing the leader loses nothing that was answered, and writes go on with the next one."""
    await stage.start()
    leader = await stage.formed()
    client = await Client.new(leader.replica)
    for number in range(20):
        await client.create(f"/n{number}")
    await stage.kill(leader.sid)
    successor = await stage.formed()
    assert successor.replica.tree.last_zxid >> 32 == 2
    again = await Client.new(successor.replica)
    await again.create("/after")
    await stage.start(leader.sid)
    await stage.formed()
    await stage.until_same()
    assert {f"/n{number}" for number in range(20)} | {"/after"} <= set(leader.replica.tree.nodes)


@staged()
async def test_a_follower_comes_back(stage: Stage) -> None:
    """A follower that was away gets what it missed: a few transactions as a DIFF."""
    await stage.start()
    leader = await stage.formed()
    follower = next(member for member in stage.running() if member is not leader)
    client = await Client.new(leader.replica)
    await client.create("/before")
    await stage.kill(follower.sid)
    for number in range(10):
        await client.create(f"/n{number}")
    await stage.start(follower.sid)
    await stage.formed()
    await stage.until_same()


@staged(commit_log_count=500, snap_count=2000)
async def test_a_follower_that_missed_a_lot_comes_back(stage: Stage) -> None:
    """More than the leader keeps in memory comes from its log or as a snapshot; either way all is there."""
    await stage.start()
    leader = await stage.formed()
    follower = next(member for member in stage.running() if member is not leader)
    await stage.kill(follower.sid)
    client = await Client.new(leader.replica)
    for number in range(1200):
        client.send(OpCode.CREATE, CreateRequest(f"/n{number}", b"x" * 100, list(OPEN_ACL), 0))
    await client.create("/last")
    await stage.start(follower.sid)
    await stage.formed()
    await stage.until_same()


@staged(force_snapshot_sync=True)
async def test_learners_take_a_snapshot(stage: Stage) -> None:
    """A learner that is sent the whole tree holds it on disk before it says so: it survives a restart alone."""
    await stage.start()
    leader = await stage.formed()
    client = await Client.new(leader.replica)
    for number in range(10):
        await client.create(f"/n{number}")
    follower = next(member for member in stage.running() if member is not leader)
    await stage.kill(follower.sid)
    await client.create("/more")
    await stage.start(follower.sid)
    await stage.formed()
    await stage.until_same()
    for member in stage.running():
        await stage.kill(member.sid)
    await stage.start()
    await stage.formed()
    await stage.until_same()
    assert "/more" in stage.all[follower.sid].replica.tree.nodes


@staged()
async def test_what_was_never_committed_is_taken_back(stage: Stage) -> None:
    """A leader alone logs a proposal that nobody else sees; back among the others it has to drop it (TRUNC)."""
    await stage.start()
    leader = await stage.formed()
    client = await Client.new(leader.replica)
    await client.create("/kept")
    others = [member for member in stage.running() if member is not leader]
    for other in others:
        stage.network.cut(f"m{leader.sid}", f"m{other.sid}")
    client.send(OpCode.CREATE, CreateRequest("/lost", b"", list(OPEN_ACL), 0))
    await stage.until(lambda: leader.state is ServerState.LOOKING)
    assert "/lost" in leader.tree.nodes
    successor = await stage.formed(*(other.sid for other in others))
    again = await Client.new(successor.replica)
    await again.create("/instead")
    for other in others:
        stage.network.mend(f"m{leader.sid}", f"m{other.sid}")
    await stage.formed()
    await stage.until_same()
    assert "/lost" not in leader.replica.tree.nodes
    assert "/instead" in leader.replica.tree.nodes


@staged()
async def test_a_follower_alone_serves_nobody(stage: Stage) -> None:
    """Two of three go on; the third, cut off, ends its role, and its clients are disconnected."""
    await stage.start()
    leader = await stage.formed()
    follower, other = (member for member in stage.running() if member is not leader)
    for sid in (leader.sid, other.sid):
        stage.network.cut(f"m{follower.sid}", f"m{sid}")
    await stage.until(lambda: follower.clients.replica is None)
    client = await Client.new(leader.replica)
    await client.create("/with-two")
    for sid in (leader.sid, other.sid):
        stage.network.mend(f"m{follower.sid}", f"m{sid}")
    await stage.formed()
    await stage.until_same()


@staged(observing=1)
async def test_an_observer_follows_without_a_vote(stage: Stage) -> None:
    """An observer has what the others have and passes on writes, and is no part of a quorum."""
    await stage.start()
    leader = await stage.formed()
    observer = stage.all[4]
    client = await Client.new(observer.replica)
    await client.create("/through-observer")
    await stage.until_same()
    assert observer.state is ServerState.OBSERVING
    assert 4 not in leader.peer.leader.leading.proposals.acked
    others = [member for member in stage.running() if member.sid not in (leader.sid, 4)]
    for other in others:
        await stage.kill(other.sid)
    await stage.until(lambda: leader.clients.replica is None)


@staged()
async def test_errors_come_back_to_who_asked(stage: Stage) -> None:
    """A refused write of a follower's client is answered with its error, in its turn."""
    await stage.start()
    leader = await stage.formed()
    follower = next(member for member in stage.running() if member is not leader)
    client = await Client.new(follower.replica)
    await client.create("/a")
    first = client.send(OpCode.CREATE, CreateRequest("/a", b"", list(OPEN_ACL), 0))
    second = client.send(OpCode.CREATE, CreateRequest("/b/c", b"", list(OPEN_ACL), 0))
    assert (await client.hear(first)).err == ErrorCode.NODE_EXISTS
    assert (await client.hear(second)).err == ErrorCode.NO_NODE


@staged()
async def test_sync_brings_a_follower_up_to_date(stage: Stage) -> None:
    """After a sync a follower has everything that was answered anywhere before it was asked for."""
    await stage.start()
    leader = await stage.formed()
    follower = next(member for member in stage.running() if member is not leader)
    reader = await Client.new(follower.replica)
    writer = await Client.new(leader.replica)
    for number in range(50):
        await writer.create(f"/n{number}")
        await reader.sync()
        assert f"/n{number}" in follower.replica.tree.nodes


@staged()
async def test_sessions_are_kept_alive_through_followers_and_expired_by_the_leader(stage: Stage) -> None:
    """A session that is touched at a follower lives; one that is not expires everywhere, with its nodes."""
    await stage.start()
    leader = await stage.formed()
    follower = next(member for member in stage.running() if member is not leader)
    alive, silent = [await Client.new(follower.replica, timeout=2000) for _ in range(2)]
    await alive.create("/alive", flags=1)
    await silent.create("/silent", flags=1)
    sessions = follower.replica.sessions
    for _ in range(40):
        await trio.sleep(0.1)
        sessions.touch(sessions.by_id[alive.session_id], follower.replica.host.elapsed_ms())
    await stage.until(lambda: "/silent" not in follower.replica.tree.nodes)
    assert silent.ended
    assert not alive.ended
    await stage.until_same()
    assert "/alive" in leader.replica.tree.nodes


@staged()
async def test_a_session_moves_to_another_member(stage: Stage) -> None:
    """A client resumes its session elsewhere; what the old connection still writes is refused as moved."""
    await stage.start()
    leader = await stage.formed()
    one, other = (member for member in stage.running() if member is not leader)
    client = await Client.new(one.replica)
    await client.create("/mine", flags=1)
    answers: list[bool] = []
    other.replica.role.resume(client.session_id, 4000, answers.append)
    await stage.until(lambda: bool(answers))
    assert answers == [True]
    applied = await client.ask(OpCode.CREATE, CreateRequest("/old", b"", list(OPEN_ACL), 0))
    assert applied.err == ErrorCode.SESSION_MOVED
    moved = Client(other.replica, client.session_id)
    await moved.create("/new")
    answers.clear()
    other.replica.role.resume(12345, 4000, answers.append)
    await stage.until(lambda: bool(answers))
    assert answers == [False]


@staged()
async def test_an_epoch_that_is_used_up_ends(stage: Stage) -> None:
    """Before the counter of an epoch runs over another epoch begins (ZOOKEEPER-1277)."""
    await stage.start()
    leader = await stage.formed()
    client = await Client.new(leader.replica)
    await client.create("/before")
    epoch = leader.replica.last_proposed >> 32
    leader.peer.leader.leading.last_counter = 4
    for path in ("/x", "/y", "/z"):
        client.send(OpCode.CREATE, CreateRequest(path, b"", list(OPEN_ACL), 0))
    await stage.until(lambda: leader.peer.vote.peer_epoch == epoch + 1)
    successor = await stage.formed()
    await stage.until_same()
    # What was proposed and answered to nobody may have become part of the history; never was answered is /z.
    assert "/z" not in successor.replica.tree.nodes


@staged()
async def test_a_leader_needs_one_of_its_addresses(stage: Stage) -> None:
    """``Leader.createServerSocket``: what cannot be listened on is said, and learners come to the others."""
    lines = [f"server.{n}=m{n}b:2889:3889:participant|m{n}:2888:3888:participant" for n in (1, 2, 3)]
    stage.members = Members.parse("\n".join(lines))
    taken = [stage.network.listen("elsewhere", f"m{n}b", 2889) for n in (1, 2, 3)]
    await stage.start()
    leader = await stage.formed()
    client = await Client.new(leader.replica)
    await client.create("/a")
    await stage.until_same()
    for listener in taken:
        await listener.aclose()


@staged()
async def test_a_learner_needs_one_of_its_leaders_addresses(stage: Stage) -> None:
    """``Learner.LeaderConnector``: the network of the first one is down, and nothing is answered there."""
    lines = [f"server.{n}=down{n}:2889:3888:participant|m{n}:2888:3888:participant" for n in (1, 2, 3)]
    stage.members = Members.parse("\n".join(lines))
    assert stage.members[1].quorum_addresses[0].host == "down1"
    for n in (1, 2, 3):
        stage.network.listen("elsewhere", f"down{n}", 2889)
        stage.network.cut(f"m{n}", "elsewhere")
    await stage.start()
    await stage.formed()


@staged(1)
async def test_a_leader_that_is_stopped_listens_nowhere(stage: Stage) -> None:
    """At none of its addresses: a program that stops a member and starts another one gets the ports."""
    stage.members = Members.parse("server.1=m1:2888:3888:participant|m1b:2889:3889:participant")
    await stage.start()
    leader = await stage.formed()
    assert {("m1", 2888), ("m1b", 2889)} <= set(stage.network._listeners)
    assert leader.scope is not None
    leader.scope.cancel()
    await leader.gone.wait()
    assert not stage.network._listeners


@staged()
async def test_a_leader_without_an_address_does_not_lead(stage: Stage) -> None:
    """It looks for a leader again, until it can be reached."""
    taken = [stage.network.listen("elsewhere", f"m{n}", 2888) for n in (1, 2, 3)]
    await stage.start()
    await trio.sleep(10)
    assert [member.clients.replica for member in stage.running()] == [None] * 3
    for listener in taken:
        await listener.aclose()
    await stage.formed()
