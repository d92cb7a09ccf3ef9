"""Ensembles for tests: what happens to their members is what was asked for, and clients see it."""

import gc
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import trio
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from serving.talk import Reply, create, hello, packets, read_answer

from pyzkserver.serving.port import PortUnavailable
from pyzkserver.testing.clients import kazoo_client
from pyzkserver.testing.ensemble import Ensemble, EnsembleMember, NotFormed
from pyzkserver.testing.server import Server


@pytest.fixture(scope="module")
def ensemble() -> Iterator[Ensemble]:
    """One for all tests here, whole again after each."""
    with Ensemble(3, observers=1) as ensemble:
        yield ensemble


@pytest.fixture(autouse=True)
def whole(ensemble: Ensemble) -> Iterator[None]:
    yield
    ensemble.heal()
    for member in ensemble:
        if not member.is_running:
            member.restart(wait=False)
    ensemble.wait_until_formed()


def connected(hosts: str) -> KazooClient:
    client = KazooClient(
        hosts, timeout=5, connection_retry={"max_tries": -1, "delay": 0.01, "max_delay": 0.05}
    )
    client.start(timeout=10)
    return client


def leave(client: KazooClient) -> None:
    client.stop()
    client.close()


@pytest.fixture
def client(ensemble: Ensemble) -> Iterator[KazooClient]:
    client = connected(ensemble.hosts)
    yield client
    leave(client)


def test_it_forms_at_once(ensemble: Ensemble) -> None:
    """An ensemble takes some hundredths of a second, and says who does what."""
    started = time.perf_counter()
    with Ensemble(3) as other:
        assert time.perf_counter() - started < 1
        assert len(other.followers) == 2
        assert other.leader.is_leader
        assert other.describe().count("follower") == 2
    assert [member.mode for member in other] == ["stopped"] * 3
    assert [member.mode for member in ensemble.observers] == ["observer"]


def test_what_is_written_at_one_member_is_read_at_another(ensemble: Ensemble) -> None:
    """Through leader, follower and observer; sync makes sure of it."""
    for writer in ensemble:
        there = connected(writer.hosts)
        there.create(f"/from{writer.sid}", b"data")
        for reader in ensemble:
            here = connected(reader.hosts)
            here.sync("/")
            assert here.get(f"/from{writer.sid}")[0] == b"data"
            leave(here)
        there.delete(f"/from{writer.sid}")
        leave(there)


def test_killing_the_leader_costs_a_moment(ensemble: Ensemble, client: KazooClient) -> None:
    """Another member leads, the client goes on with its session, and the old leader comes back as a follower."""
    client.create("/mine", ephemeral=True)
    session = client.client_id
    old = ensemble.leader
    old.kill()
    assert old.mode == "stopped"
    new = ensemble.wait_until_formed()
    assert new is not old
    client.retry(client.create, "/after")
    assert client.client_id == session
    assert client.exists("/mine")
    old.restart()
    assert old.mode == "follower"
    reader = connected(old.hosts)
    assert reader.exists("/after")
    leave(reader)
    client.delete("/after")


def test_what_is_asked_of_a_member_that_is_down(ensemble: Ensemble) -> None:
    """It says which one it is, and how it is started again."""
    member = ensemble.followers[0]
    with member.down():
        for ask in (member.tree, lambda: ensemble.elect(member)):
            with pytest.raises(RuntimeError, match=f"member {member.sid} is not running: restart"):
                ask()
        assert f"{member.sid} stopped" in repr(ensemble)
    with pytest.raises(RuntimeError, match="this ensemble is not running"):
        Ensemble(3)[1].tree()


def test_more_members_than_there_can_be() -> None:
    """Told before any port is bound."""
    with pytest.raises(ValueError, match="255 members: there may be 254"):
        Ensemble(3, observers=252)


def test_without_a_quorum_nobody_is_served(ensemble: Ensemble) -> None:
    """Two of three voters gone: the last one ends its role; back with one of them it goes on."""
    voters = [ensemble.leader, *ensemble.followers]
    for member in voters[:2]:
        member.kill()
    ensemble.wait_until(lambda: voters[2].mode == "looking", "the last one to notice")
    with pytest.raises(NotFormed, match="no leader"):
        _ = ensemble.leader
    voters[0].restart()
    assert ensemble.wait_until_formed() in (voters[0], voters[2])


def test_a_member_that_lost_its_data_gets_it_again(ensemble: Ensemble, client: KazooClient) -> None:
    """restart(keep_data=False) brings an empty member, which the leader fills."""
    client.create("/kept", b"all of it")
    member = ensemble.followers[0]
    with member.down(keep_data=False):
        assert member.mode == "stopped"
    reader = connected(member.hosts)
    reader.sync("/")
    assert reader.get("/kept")[0] == b"all of it"
    leave(reader)
    client.delete("/kept")


def test_an_isolated_leader_is_replaced(ensemble: Ensemble) -> None:
    """The others elect another one; the isolated one stops to serve, and what it had not committed is gone."""
    old = ensemble.leader
    with old.isolated():
        ensemble.wait_until(lambda: old.mode == "looking", "the old leader to notice")
        ensemble.wait_until(
            lambda: any(member.is_leader for member in ensemble if member is not old), "a new leader"
        )
    assert ensemble.wait_until_formed() is not old


def test_a_paused_member_answers_nobody(ensemble: Ensemble) -> None:
    """Its client hears nothing; the others go on without it, and it comes back."""
    member = ensemble.followers[0]
    client = connected(member.hosts)
    with member.paused():
        waiting = client.exists_async("/")
        assert not waiting.wait(0.3)
    ensemble.wait_until_formed()
    leave(client)


def test_a_partition_is_healed(ensemble: Ensemble) -> None:
    """Groups of members: the larger one goes on."""
    leader, follower, other = (ensemble.leader, *ensemble.followers)
    ensemble.partition([leader.sid], [follower.sid, other.sid])
    ensemble.wait_until(lambda: follower.is_leader or other.is_leader, "the majority to go on")
    ensemble.heal()
    ensemble.wait_until_formed()


def test_data_directories_are_used(tmp_path) -> None:
    """With data_dir each member keeps its own directory there, and goes on from it."""
    with Ensemble(3, data_dir=tmp_path) as ensemble:
        client = connected(ensemble.hosts)
        client.create("/on-disk")
        leave(client)
        assert (tmp_path / "1" / "version-2" / "currentEpoch").exists()
        for member in ensemble:
            member.kill()
        for member in ensemble:
            member.restart(wait=False)
        ensemble.wait_until_formed()
        client = connected(ensemble.hosts)
        assert client.exists("/on-disk")
        leave(client)


def test_an_ensemble_that_was_left_begins_anew() -> None:
    """On its ports, with the tree that it begins with; in between it still knows its connect string."""
    ensemble = Ensemble(2, tree={"/a": b"1"})
    hosts = ensemble.hosts
    for _ in range(2):
        with ensemble:
            with pytest.raises(RuntimeError, match="running already"):
                ensemble.start()
            ensemble.leader.put({"/b": b""})
            assert ensemble.hosts == hosts
            ensemble.leader.assert_tree({"/a": b"1", "/b": b""})
            ensemble.leader.delete("/a")
        assert ensemble.hosts == hosts


def test_a_port_that_was_taken_while_the_ensemble_was_left_is_named() -> None:
    """Who enters it again is told which, and nothing of it runs."""
    ensemble = Ensemble(2)
    with ensemble:
        pass
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", ensemble[2].config.client_port))
        thief.listen()
        with pytest.raises(PortUnavailable, match=str(ensemble[2].config.client_port)):
            ensemble.start()
    with ensemble:
        assert ensemble.leader


def test_an_ensemble_that_is_never_entered_keeps_no_port(recwarn: pytest.WarningsRecorder) -> None:
    """Nobody has to close what he only made, or could not make."""
    with pytest.raises(ValueError, match="tick"):
        Ensemble(3, tick_time=-1)
    port = Ensemble(3)[1].config.client_port
    gc.collect()
    assert not [str(warning.message) for warning in recwarn if warning.category is ResourceWarning]
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_members_that_there_are_not_are_not_passed_over() -> None:
    """A partition of nobody, or a setting without effect, would be a test that proves nothing."""
    for settings in (
        {"servers": ((1, "a:1:2"),)},
        {"server_id": 1},
        {"client_port": 2181},
        {"observers": -1},
    ):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Ensemble(3, **settings)  # type: ignore[arg-type]
    ensemble = Ensemble(3)
    for misuse in (
        lambda: ensemble[9],
        lambda: ensemble.elect(9),
        lambda: ensemble.partition([1, 2], [3, 9]),
    ):
        with pytest.raises(LookupError, match="no member 9; there are 1, 2, 3"):
            misuse()


def test_a_member_without_clients_can_be_paused() -> None:
    """That nobody asked it for anything meanwhile is no mistake of the test's."""
    with Ensemble(3) as ensemble:
        follower = ensemble.followers[0]
        with follower.paused(), kazoo_client(ensemble.leader) as client:
            client.create("/a")
            follower.assert_missing("/a")
        follower.assert_exists("/a", within=10)


def test_members_that_are_left_together_do_not_miss_each_other(caplog: pytest.LogCaptureFixture) -> None:
    """Leaving an ensemble is no reason to warn of a leader that is gone."""
    with Ensemble(3, observers=1):
        caplog.clear()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_under_trio() -> None:
    """async with, beside tasks of one's own."""

    async def main() -> str:
        async with Ensemble(3) as ensemble:
            return ensemble.describe()

    assert "leader" in trio.run(main)


def test_leaving_under_trio_holds_up_nobody() -> None:
    """The members' thread is busy until another task of the caller's loop has had its turn."""

    async def main() -> bool:
        gate, passed = threading.Event(), []
        async with trio.open_nursery() as nursery:
            async with Ensemble(3) as ensemble:
                assert ensemble._loop is not None
                ensemble._loop.soon(lambda: passed.append(gate.wait(10)))

                async def open_the_gate() -> None:
                    gate.set()

                nursery.start_soon(open_the_gate)
            assert not any(member.is_running for member in ensemble)
        return passed == [True]

    assert trio.run(main)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_reconfiguration_moves_a_client_port_at_once(who: str) -> None:
    """Connections stay, that of who asked for it among them; new ones come to the new port, also when the member
    was killed meanwhile.  (``QuorumPeer.processReconfig``, ``NIOServerCnxnFactory.reconfigure``.)"""
    with Ensemble(3, reconfig_enabled=True, skip_acl=True) as ensemble:
        member = ensemble.leader if who == "leader" else ensemble.followers[0]
        old, new = member.hosts, free_port()
        with kazoo_client(member) as client:
            session = client.client_id
            line = f"server.{member.sid}=member{member.sid}:2888:3888:participant;127.0.0.1:{new}"
            client.reconfig(joining=line, leaving=None, new_members=None)
            client.create("/a")
            assert client.client_id == session
            assert member.hosts == f"127.0.0.1:{new}"
            with kazoo_client(member) as newcomer:
                assert newcomer.exists("/a")
            assert ensemble.hosts.split(",")[member.sid - 1] == member.hosts
            with pytest.raises(OSError), socket.create_connection(("127.0.0.1", int(old.rpartition(":")[2]))):
                pass
        with member.down():
            assert f"127.0.0.1:{new}" in ensemble.hosts.split(",")
        with kazoo_client(member) as newcomer:
            assert newcomer.exists("/a")
        member.restart(keep_data=False)
        assert ensemble.hosts.split(",")[member.sid - 1] == member.hosts


def test_very_many_writes_do_not_cost_a_member_its_leader() -> None:
    """UnderWay: what waits for the leader is what may be under way, however many clients there are."""
    clients, each, size = 30, 10, 20_000
    with Ensemble(3) as ensemble:
        follower = ensemble.followers[0]
        learner = follower.peer.learner
        assert learner is not None
        outbox, under_way = learner.upstream._outbox, follower.running.service.under_way
        outbox._limit, under_way.most = 2 << 20, 1 << 20
        sockets = [socket.create_connection(("127.0.0.1", follower.port), timeout=10) for _ in range(clients)]
        files = [sock.makefile("rb") for sock in sockets]

        def frame(number: int) -> bytes:
            return files[number].read(int.from_bytes(files[number].read(4)))

        for number, sock in enumerate(sockets):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * each * size)
            sock.sendall(hello())
            frame(number)
        with follower.isolated():
            for number, sock in enumerate(sockets):
                sock.setblocking(False)
                calls = [create(f"/{number}-{n}", bytes(size)) for n in range(each)]
                assert sock.send(packets(calls)) > each * size
                sock.settimeout(10)
            ensemble.wait_until(lambda: under_way.full, "all room to be taken")
            assert outbox.waiting < 2 << 20
        for number in range(clients):
            for xid in range(1, each + 1):
                reply = read_answer(frame(number))
                assert isinstance(reply, Reply)
                assert (reply.xid, reply.err) == (xid, 0)
        assert follower.peer.learner is learner
        assert under_way.bytes == 0
        for sock, file in zip(sockets, files, strict=True):
            file.close()
            sock.close()


def test_watches_fire_at_other_members(ensemble: Ensemble, client: KazooClient) -> None:
    """A watch that was set at one member hears of a write through another."""
    reader = connected(ensemble.followers[0].hosts)
    told: list[str] = []
    with pytest.raises(NoNodeError):
        reader.get("/watched")
    reader.exists("/watched", watch=lambda event: told.append(event.type))
    client.create("/watched")
    deadline = time.monotonic() + 5
    while not told and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told == ["CREATED"]
    client.delete("/watched")
    leave(reader)


def test_changes_from_outside_are_the_leaders() -> None:
    """put and delete work at the leader, and reach everybody; another member says whom to ask."""
    with Ensemble(3, tree={"/a": b"1"}) as ensemble:
        leader = ensemble.leader
        leader.put({"/b/c": b"2"})
        leader.delete("/a")
        for member in ensemble:
            member.assert_tree({"/b": b"", "/b/c": b"2"}, within=10)
        with pytest.raises(RuntimeError, match="have the leader make it"):
            ensemble.followers[0].put({"/x": b""})
        assert leader.sessions() == []


def test_a_whole_state_is_not_for_ensembles() -> None:
    """Members would have to agree on it."""
    with Server() as server:
        state = server.snapshot()
    with pytest.raises(ValueError, match="nodes by path"):
        Ensemble(3, tree=state)


def test_who_is_connected_to_whom() -> None:
    """member_of finds a client's member, by client or session."""
    with Ensemble(2) as ensemble:
        for member in ensemble:
            with kazoo_client(member) as client:
                assert ensemble.member_of(client) is member
                assert ensemble.member_of(client.client_id[0]) is member
                lost = client.client_id[0]
        with pytest.raises(LookupError, match=r"no member: 1 \w+, 2 \w+"):
            ensemble.member_of(lost)


def test_a_session_at_another_member_is_connected(ensemble: Ensemble, client: KazooClient) -> None:
    """What a failed test shows of one member must not say that a client of another was lost."""
    client.create("/watched")
    client.get("/watched", watch=print)
    home = ensemble.member_of(client)
    for member in ensemble:
        member.eventually(lambda member=member: member.exists("/watched"))
        (view,) = [each for each in member.sessions() if each.session_id == client.client_id[0]]
        assert view.connected
        assert view.watches == 1
        assert view.server == ("" if member is home else home.name)
        if member is not home:
            assert f"connected from {view.client} to {home.name}, timeout" in member.describe()
    leave(client)


def test_time_is_put_forward_for_all_members() -> None:
    """Sessions of vanished clients expire at once; those connected to any member live on, and no member is lost."""
    with Ensemble(3) as ensemble:
        leader, (follower, _) = ensemble.leader, ensemble.followers
        with kazoo_client(follower, timeout=10) as there, kazoo_client(leader, timeout=10) as here:
            there.create("/there", ephemeral=True)
            here.create("/here", ephemeral=True)
            for _ in range(20):
                ensemble.advance(60)
                assert all(leader.run(all_are_heard_of, leader))
            assert ensemble.wait_until_formed() is leader
            assert leader.peer.vote.peer_epoch == follower.peer.vote.peer_epoch == 1
            leader.assert_children("/", ["here", "there", "zookeeper"])
            ensemble.advance(60, expire=there)
            leader.assert_children("/", ["here", "zookeeper"])
            with pytest.raises(RuntimeError, match="advance of the ensemble"):
                follower.advance(1)
            before = here.create("/before", include_data=True)[1].ctime
        follower.restart()
        follower.kill()
        ensemble.advance(3600)
        follower.restart()
        ensemble.leader.kill()
        ensemble.wait_until_formed()
        ensemble.leader.put({"/after": b""})
        assert ensemble.leader.node("/after").ctime - before > 3_600_000


def all_are_heard_of(leader: EnsembleMember) -> list[bool]:
    """Whether the leader believes so of each of its learners."""
    assert leader.peer.leader is not None
    return [handler.synced for handler in leader.peer.leader.handlers]
