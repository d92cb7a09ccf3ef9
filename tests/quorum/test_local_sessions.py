"""Sessions that only one member knows: they write, they do not leave nodes behind, and they can become global."""

from pyzkserver.errors import ErrorCode
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.wire.requests import CreateRequest, MultiOp, MultiRequest, OpCode, SetDataRequest

from .stage import Client, Member, Stage
from .test_ensemble import staged

LOCAL = {"local_sessions_enabled": True}
UPGRADING = {**LOCAL, "local_sessions_upgrading_enabled": True}


def local_client(member: Member, timeout: int = 4000) -> Client:
    """What the handshake does where new sessions are local."""
    replica = member.replica
    assert replica.role.opens_local_sessions
    client = Client(replica, replica.sessions.new_id())
    session = replica.sessions.track(client.session_id, timeout, replica.host.elapsed_ms())
    session.owner, session.local = client, True
    replica.sessions.touch(session, replica.host.elapsed_ms())
    return client


def ephemeral(path: str) -> CreateRequest:
    return CreateRequest(path, b"", list(OPEN_ACL), 1)


@staged(**LOCAL)
async def test_a_local_session_writes_and_is_known_to_nobody_else(stage: Stage) -> None:
    """At the leader and at a follower: writes go through, no createSession and no closeSession is logged."""
    await stage.start()
    leader = await stage.formed()
    for member in stage.running():
        before = leader.replica.last_proposed
        client = local_client(member)
        await client.create(f"/m{member.sid}")
        await client.set(f"/m{member.sid}", b"x")
        applied = await client.ask(OpCode.CLOSE_SESSION, None)
        assert applied.err == 0
        assert client.session_id not in member.replica.sessions.by_id
        assert leader.replica.last_proposed == before + 2
    await stage.until_same()
    assert all(not member.replica.sessions.timeouts() for member in stage.running())


@staged(**LOCAL)
async def test_a_local_session_cannot_create_ephemeral_nodes(stage: Stage) -> None:
    """EPHEMERALONLOCALSESSION, in its turn among the session's other requests; a multi is looked into."""
    await stage.start()
    await stage.formed()
    for member in stage.running():
        client = local_client(member)
        first = client.send(OpCode.CREATE, CreateRequest(f"/a{member.sid}", b"", list(OPEN_ACL), 0))
        second = client.send(OpCode.CREATE, ephemeral("/e"))
        third = client.send(OpCode.MULTI, MultiRequest([MultiOp(OpCode.CREATE, ephemeral("/e"))]))
        fourth = client.send(OpCode.SET_DATA, SetDataRequest(f"/a{member.sid}", b"1", -1))
        last = client.send(OpCode.CLOSE_SESSION, None)
        assert (await client.hear(last)).err == 0
        assert list(client.applied) == [first, second, third, fourth]
        assert client.applied[second].err == ErrorCode.EPHEMERAL_ON_LOCAL_SESSION
        parts = client.applied[third].parts
        multi_err = client.applied[third].err or (parts[0].err if parts else 0)
        assert multi_err == ErrorCode.EPHEMERAL_ON_LOCAL_SESSION
        assert client.applied[first].err == client.applied[fourth].err == 0


@staged(**UPGRADING)
async def test_a_local_session_becomes_global_with_its_first_ephemeral_node(stage: Stage) -> None:
    """Then all know it, the leader decides about its time, and its node goes with it."""
    await stage.start()
    await stage.formed()
    for member in stage.running():
        client = local_client(member, timeout=1000)
        applied = await client.ask(OpCode.CREATE, ephemeral(f"/e{member.sid}"))
        assert applied.err == 0
        await stage.until_same()
        assert all(client.session_id in other.replica.sessions.timeouts() for other in stage.running())
        await stage.until(lambda client=client: client.ended)
        await stage.until_same()
        assert f"/e{member.sid}" not in member.replica.tree.nodes


@staged(**LOCAL)
async def test_a_local_session_expires_at_its_member(stage: Stage) -> None:
    """Silent for too long, it is gone, and no transaction tells of it; while it is heard of it lives."""
    await stage.start()
    leader = await stage.formed()
    before = leader.replica.last_proposed
    for member in stage.running():
        client = local_client(member, timeout=1000)
        await stage.until(lambda client=client: client.ended)
        assert client.session_id not in member.replica.sessions.by_id
    assert leader.replica.last_proposed == before


@staged(**LOCAL)
async def test_a_local_session_is_resumed_at_its_member_alone(stage: Stage) -> None:
    """Another member cannot know it.  (Found by the seeds: the leader gave its own ones away.)"""
    await stage.start()
    leader = await stage.formed()
    follower, other = (member for member in stage.running() if member is not leader)
    for home in (follower, leader):
        client = local_client(home)
        answers: list[bool] = []
        home.replica.role.resume(client.session_id, 4000, answers.append)
        assert answers == [True]
        other.replica.role.resume(client.session_id, 4000, answers.append)
        await stage.until(lambda answers=answers: len(answers) == 2)
        assert answers == [True, False]
