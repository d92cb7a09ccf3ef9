"""Faults of an ensemble: at whichever member a client is, and between the members."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import ConnectionLoss, NoAuthError, NodeExistsError

from pyzkserver.testing.ensemble import Ensemble

from .helpers import PATIENCE, connected, until


@pytest.fixture(scope="module")
def ensemble() -> Iterator[Ensemble]:
    """One for all tests here, whole again after each."""
    with Ensemble(3, observers=1) as ensemble:
        yield ensemble


@pytest.fixture(autouse=True)
def whole(ensemble: Ensemble) -> Iterator[None]:
    yield
    ensemble.faults.clear()
    for member in ensemble:
        if not member.is_running:
            member.restart(wait=False)
    ensemble.wait_until_formed()
    with connected(ensemble.leader.hosts) as client:
        for name in client.get_children("/"):
            if name != "zookeeper":
                client.delete(f"/{name}", recursive=True)
    ensemble.recording.clear()


@contextmanager
def at(ensemble: Ensemble, sid: int) -> Iterator[KazooClient]:
    with connected(ensemble[sid].hosts) as client:
        yield client


# --- rules of requests, at all members ----------------------------------------------------------------------


def test_a_rule_holds_wherever_the_client_is(ensemble: Ensemble) -> None:
    """Its limits count for all members together; and the reply is lost after all have agreed."""
    with at(ensemble, 1) as one, at(ensemble, 2) as two:
        with ensemble.faults.lose_reply("create", times=2) as lost:
            for client, path in ((one, "/a"), (two, "/b")):
                with pytest.raises(ConnectionLoss):
                    client.create(path)
            one.retry(one.create, "/c")
        assert lost.hits == 2
        one.sync("/")
        assert set(one.get_children("/")) >= {"a", "b", "c"}


def test_a_rule_of_one_member(ensemble: Ensemble) -> None:
    """Others do not know it."""
    with at(ensemble, 1) as one, at(ensemble, 2) as two, ensemble[2].faults.fail("NO_AUTH", "exists", "/a"):
        assert one.exists("/a") is None
        with pytest.raises(NoAuthError):
            two.exists("/a")


def test_held_at_a_follower(ensemble: Ensemble) -> None:
    """A write waits at the member that the client is connected to; others overtake it."""
    follower = ensemble.followers[0]
    with connected(follower.hosts) as client, connected(ensemble.leader.hosts) as other:
        with ensemble.faults.hold("create", client=client) as held:
            mine = client.create_async("/race", b"mine")
            held.wait_hit()
            other.create("/race", b"other")
        with pytest.raises(NodeExistsError):
            mine.get(timeout=PATIENCE)
        client.sync("/")
        assert client.get("/race")[0] == b"other"


def test_a_session_expires_wherever_its_client_is(ensemble: Ensemble) -> None:
    """The leader lets it; ephemerals go, and the client hears of it."""
    for member in (ensemble.leader, ensemble.followers[0], ensemble.observers[0]):
        with connected(member.hosts) as client, connected(ensemble.leader.hosts) as other:
            client.create("/mine", ephemeral=True)
            states: list[str] = []
            client.add_listener(states.append)
            ensemble.faults.expire(client)
            assert other.exists("/mine") is None
            until(lambda states=states: KazooState.LOST in states)  # type: ignore[misc]


def test_the_recording_of_all(ensemble: Ensemble) -> None:
    """In the order in which it was asked, and which member was asked; waiting works across them."""
    with at(ensemble, 1) as one, at(ensemble, 2) as two:
        ensemble.recording.clear()
        one.exists("/x")
        two.exists("/y")
        one.exists("/z")
        assert [(asked.path, asked.server) for asked in ensemble.recording.requests()] == [
            ("/x", "member 1"),
            ("/y", "member 2"),
            ("/z", "member 1"),
        ]
        assert [asked.path for asked in ensemble[2].recording.requests()] == ["/y"]
        two.exists_async("/late")
        assert ensemble.recording.wait_for("exists", "/late").server == "member 2"
        assert "member 2: exists /y" in ensemble.recording.transcript()


# --- between members ----------------------------------------------------------------------------------------


def test_a_partition_ends_with_its_block(ensemble: Ensemble) -> None:
    """The larger part goes on, the smaller one does not; afterwards all are one."""
    leader, follower, other = (ensemble.leader, *ensemble.followers)
    with ensemble.faults.partition([leader], [follower, other]) as rule:
        assert repr(rule).startswith(f"<partition([{leader.sid}], [")
        assert rule.hits == 1
        ensemble.wait_until(lambda: follower.is_leader or other.is_leader, "the majority to go on")
        ensemble.wait_until(lambda: leader.mode == "looking", "the minority to give up")
    assert ensemble.wait_until_formed() is not leader


def test_rules_that_cut_the_same_link(ensemble: Ensemble) -> None:
    """It is mended when the last of them is removed, and no other."""
    network = ensemble.network
    one = ensemble.faults.isolate(1)
    two = ensemble.faults.partition([1, 3], [2])
    assert not network.reaches("member1", "member2")
    one.remove()
    assert not network.reaches("member1", "member2")
    assert network.reaches("member1", "member3")
    two.remove()
    assert network.reaches("member1", "member2")


def test_an_isolated_follower_serves_nobody(ensemble: Ensemble) -> None:
    """Its client finds another member, and its session there."""
    follower = ensemble.followers[0]
    with connected(follower.hosts) as client:
        session = client.client_id
        client.set_hosts(ensemble.hosts)
        with ensemble.faults.isolate(follower):
            ensemble.wait_until(lambda: follower.mode == "looking", "the follower to notice")
            client.retry(client.create, "/moved")
            assert client.client_id == session


def test_a_paused_member(ensemble: Ensemble) -> None:
    """Answers nobody, and is told nothing; afterwards it is one of them again."""
    follower = ensemble.followers[0]
    with connected(follower.hosts) as client:
        with ensemble.faults.pause(follower):
            waiting = client.exists_async("/")
            with connected(ensemble.leader.hosts) as other:
                other.create("/meanwhile")
            assert not waiting.ready()
        ensemble.wait_until_formed()
        assert client.retry(client.exists, "/meanwhile")


def test_an_observer_that_is_behind(ensemble: Ensemble) -> None:
    """It answers with what was; sync makes it wait for what is."""
    observer = ensemble.observers[0]
    with connected(observer.hosts) as behind, connected(ensemble.leader.hosts) as client:
        client.create("/a", b"old")
        behind.sync("/")
        with ensemble.faults.lag(observer, 0.5) as lag:
            client.set("/a", b"new")
            assert behind.get("/a")[0] == b"old"
            behind.sync("/a")
            assert behind.get("/a")[0] == b"new"
            client.set("/a", b"newest")
            lag.remove()  # what is on its way arrives
            until(lambda: behind.get("/a")[0] == b"newest")


# --- who leads ----------------------------------------------------------------------------------------------


def test_any_voter_can_be_made_the_leader(ensemble: Ensemble) -> None:
    """Also the one with the lowest number; nothing is lost, and clients go on."""
    with connected(ensemble.hosts) as client:
        for number, sid in enumerate((1, 2, 3, 1)):
            client.retry(client.create, f"/{number}")
            assert ensemble.elect(sid) is ensemble[sid] is ensemble.leader
            assert ensemble.wait_until_formed().sid == sid
        client.sync("/")
        assert set(client.get_children("/")) >= {"0", "1", "2", "3"}
    assert ensemble.elect(ensemble.leader) is ensemble.leader
    with pytest.raises(ValueError, match="observes, and cannot lead"):
        ensemble.elect(4)


def test_where_nothing_was_written_any_voter_can_lead_too() -> None:
    """A leader counts the beginning of its epoch as logged, and a follower need not: nobody waits for that."""
    with Ensemble(3) as ensemble:
        for sid in (3, 1, 2):
            assert ensemble.elect(sid, timeout=5).sid == sid
        with ensemble.faults.next_leader(1):
            ensemble.leader.kill()
            ensemble.wait_until(lambda: ensemble[1].is_leader, "member 1 to lead")
        assert ensemble[1].tree() == {}


def test_the_next_leader(ensemble: Ensemble) -> None:
    """Whoever is named wins the next election, whatever its reason."""
    ensemble.elect(3)
    with ensemble.faults.next_leader(1):
        ensemble[3].kill()
        ensemble.wait_until(lambda: ensemble[1].is_leader, "member 1 to lead")
        ensemble[3].restart()
        assert ensemble.leader.sid == 1


def test_one_that_lacks_something_does_not_win(ensemble: Ensemble) -> None:
    """Nothing that was promised to a client is given up for a wish."""
    ensemble.elect(3)
    with ensemble[1].down(), connected(ensemble[3].hosts) as client:
        client.create("/promised")
        ensemble.faults.next_leader(1)
        ensemble.faults.isolate(3)
        ensemble[1].restart(wait=False)
        ensemble.wait_until(lambda: ensemble[2].is_leader, "member 2 to lead")
    with connected(ensemble[1].hosts) as client:
        client.sync("/")
        assert client.exists("/promised")


# --- mistakes -----------------------------------------------------------------------------------------------


def test_what_cannot_be_meant(ensemble: Ensemble) -> None:
    """Is refused at once."""
    faults = ensemble.faults
    with pytest.raises(ValueError, match="there is no member 7; there are 1, 2, 3, 4"):
        faults.isolate(7)
    with pytest.raises(ValueError, match="two groups or more"):
        faults.partition([1, 2])
    with pytest.raises(ValueError, match="two groups or more"):
        faults.partition([1, 2], [])
    with pytest.raises(ValueError, match="member 2 cannot be in two groups"):
        faults.partition([1, 2], [2, 3])
    with pytest.raises(ValueError, match="more than 0"):
        faults.lag(4, 0)
    assert faults.rules == ()
