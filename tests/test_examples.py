"""The programs of examples/, as they are, with what goes wrong in the life of such programs."""

import itertools
import threading
from collections.abc import Callable, Iterator

import pytest
from kazoo.client import KazooClient
from testing.helpers import PATIENCE, connected, until

import pyzkserver
from examples.configuration import Configuration
from examples.election import Candidate, leader
from examples.lock import Lock, LockLost
from examples.membership import Group, Member
from examples.orchestrator import Container, Orchestrator, ThreadContainer
from examples.work_queue import WorkQueue


@pytest.fixture
def server() -> Iterator[pyzkserver.Server]:
    with pyzkserver.Server() as server:
        yield server


@pytest.fixture
def alice(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server.hosts) as client:
        yield client


@pytest.fixture
def bob(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server.hosts) as client:
        yield client


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


# --- configuration ------------------------------------------------------------------------------------------


def test_configuration_is_seen_by_all(alice: KazooClient, bob: KazooClient) -> None:
    """Settings come, change, go and come again, and every process sees it."""
    mine, theirs = Configuration(alice), Configuration(bob)
    mine.change("timeout", lambda old: b"10")
    assert theirs.wait_for("timeout", b"10")
    mine.change("timeout", lambda old: (old or b"") + b"0")
    assert theirs.wait_for("timeout", b"100")
    assert theirs["timeout"] == b"100"
    for value in (None, b"5"):
        if value is None:
            alice.delete("/config/timeout")
        else:
            mine.change("timeout", lambda old: b"5")
        assert theirs.wait_for("timeout", value)
    assert "timeout" in theirs


def test_configuration_survives_a_restart(
    server: pyzkserver.Server, alice: KazooClient, bob: KazooClient
) -> None:
    """What changed while a process was cut off is there when it is back."""
    mine, theirs = Configuration(alice), Configuration(bob)
    mine.change("a", lambda old: b"1")
    assert theirs.wait_for("a", b"1")
    with server.faults.refuse_connections(client=bob) as refusal:
        server.faults.disconnect(bob)
        refusal.wait_hit()
        mine.change("a", lambda old: b"2")
        mine.change("b", lambda old: b"3")
    assert theirs.wait_for("a", b"2")
    assert theirs.wait_for("b", b"3")
    server.restart()
    mine.change("a", lambda old: b"4")
    assert theirs.wait_for("a", b"4")


def test_changes_at_the_same_time_are_both_made(
    server: pyzkserver.Server, alice: KazooClient, bob: KazooClient
) -> None:
    """Who was overtaken between reading and writing begins anew."""
    mine, theirs = Configuration(alice), Configuration(bob)
    mine.change("list", lambda old: b"a")
    with server.faults.hold("set", "/config/list", client=alice, times=1) as held:
        slow = in_thread(lambda: mine.change("list", lambda old: (old or b"") + b"b"))
        held.wait_hit()
        theirs.change("list", lambda old: (old or b"") + b"c")
    slow.join(PATIENCE)
    assert alice.get("/config/list")[0] == b"acb"


# --- the lock -----------------------------------------------------------------------------------------------


def test_one_at_a_time_and_in_order(server: pyzkserver.Server, alice: KazooClient) -> None:
    """Threads of several clients under one lock."""
    inside, order = threading.Lock(), []

    def work(name: str) -> None:
        with connected(server.hosts) as client, Lock(client, "/lock", name):
            assert inside.acquire(blocking=False)
            order.append(name)
            inside.release()

    threads = [in_thread(lambda name=name: work(name)) for name in "abc"]  # type: ignore[misc]
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(order) == ["a", "b", "c"]
    assert alice.get_children("/lock") == []


@pytest.mark.parametrize("times", [1, 3])
def test_the_lock_survives_lost_replies(server: pyzkserver.Server, alice: KazooClient, times: int) -> None:
    """However often the reply is lost, there is one node of ours."""
    lock = Lock(alice, "/lock")
    with server.faults.lose_reply("create", "/lock/*", times=times):
        assert lock.acquire(timeout=PATIENCE)
    assert len(server.tree("/lock")) == 2
    lock.release()
    assert len(server.tree("/lock")) == 1


def test_the_lock_is_lost_with_the_connection(
    server: pyzkserver.Server, alice: KazooClient, bob: KazooClient
) -> None:
    """Whoever cannot know whether it is held does not go on as if it were, and writes nothing."""
    alice.create("/data", b"0")
    mine, theirs = Lock(alice, "/lock"), Lock(bob, "/lock")
    assert mine.acquire()
    assert not theirs.acquire(timeout=0.01)
    mine.set("/data", b"1")
    server.faults.expire(alice)
    until(lambda: not mine.is_held)
    assert theirs.acquire(timeout=PATIENCE)
    until(lambda: alice.connected)
    with pytest.raises(LockLost):
        mine.set("/data", b"2")
    theirs.set("/data", b"3")
    assert bob.get("/data")[0] == b"3"


def test_waiting_through_an_expiry(server: pyzkserver.Server, alice: KazooClient, bob: KazooClient) -> None:
    """Who loses the session while waiting stands in the queue again."""
    mine, theirs = Lock(alice, "/lock"), Lock(bob, "/lock")
    assert mine.acquire()
    waiting = in_thread(lambda: theirs.acquire(timeout=PATIENCE))
    server.recording.wait_for("exists", "/lock/*", client=bob)
    server.faults.expire(bob)
    server.recording.wait_for("create", "/lock/*", count=3)
    mine.release()
    waiting.join(PATIENCE)
    assert theirs.is_held


# --- the election -------------------------------------------------------------------------------------------


def test_the_next_one_leads_when_the_leader_is_gone(
    server: pyzkserver.Server, alice: KazooClient, bob: KazooClient
) -> None:
    """By expiry; the old leader learns of it, and stands again."""
    terms: list[tuple[str, Lock]] = []
    done = threading.Event()

    def lead(name: str) -> Callable[[Lock], None]:
        def while_held(lock: Lock) -> None:
            terms.append((name, lock))
            until(lambda: done.is_set() or not lock.is_held)

        return while_held

    candidates = [Candidate(alice, "/election", "alice", lead("alice"))]
    candidates.append(Candidate(bob, "/election", "bob", lead("bob")))
    for candidate in candidates:
        candidate.start()
        until(lambda: terms)
    assert leader(bob, "/election") == "alice"
    server.faults.expire(alice)
    until(lambda: len(terms) == 2)
    assert terms[1][0] == "bob"
    until(lambda: not terms[0][1].is_held)
    assert leader(bob, "/election") == "bob"
    until(lambda: len(server.tree("/election")) == 3)
    server.faults.expire(bob)
    until(lambda: len(terms) == 3)
    assert terms[2][0] == "alice"
    done.set()
    for candidate in candidates:
        candidate.stop()


# --- the group ----------------------------------------------------------------------------------------------


def test_members_come_and_go(server: pyzkserver.Server, alice: KazooClient, bob: KazooClient) -> None:
    """By their own will, or by the end of their sessions; who lives comes back."""
    group = Group(alice, "/group")
    first, second = Member(alice, "/group", "alice", b"1"), Member(bob, "/group", "bob", b"2")
    first.join()
    second.join()
    assert group.wait_for("alice", "bob")
    assert group.members == {"alice": b"1", "bob": b"2"}
    second.leave()
    assert group.wait_for("alice")
    second.join()
    assert group.wait_for("alice", "bob")
    server.faults.expire(bob)
    server.recording.wait_for("create", "/group/bob", client=bob, count=1)
    assert group.wait_for("alice", "bob")


def test_a_member_whose_reply_is_lost(server: pyzkserver.Server, alice: KazooClient) -> None:
    """Has joined once."""
    with server.faults.lose_reply("create", "/group/alice", times=1):
        Member(alice, "/group", "alice").join()
    assert server.node("/group/alice").ephemeral_owner == alice.client_id[0]


def test_a_member_that_was_restarted(server: pyzkserver.Server, alice: KazooClient, bob: KazooClient) -> None:
    """The node of its former life is not taken for its own: it stays when that session expires."""
    Member(alice, "/group", "one").join()
    with server.faults.silence(client=alice):
        Member(bob, "/group", "one").join()
        server.advance(30, expire=alice)
        assert server.node("/group/one").ephemeral_owner == bob.client_id[0]


# --- the queue ----------------------------------------------------------------------------------------------


def test_work_is_done_in_order(alice: KazooClient, bob: KazooClient) -> None:
    """Each item once."""
    mine, theirs = WorkQueue(alice, "/jobs"), WorkQueue(bob, "/jobs")
    for item in (b"1", b"2", b"3"):
        mine.put(item)
    done: list[bytes] = []
    assert mine.work(done.append)
    assert theirs.work(done.append)
    assert mine.work(done.append)
    assert not mine.work(done.append)
    assert done == [b"1", b"2", b"3"]


@pytest.mark.parametrize("op", ["create", "get", "delete", "get_children"])
def test_work_through_lost_replies(server: pyzkserver.Server, alice: KazooClient, op: str) -> None:
    """Whichever reply is lost, each item is put once and done once."""
    queue, done = WorkQueue(alice, "/jobs"), []
    with server.faults.lose_reply(op, "/jobs/**", after=1, times=1):
        for item in (b"1", b"2"):
            queue.put(item)
        while queue.work(done.append):
            pass
    assert done == [b"1", b"2"]
    assert len(server.tree("/jobs")) == 3


def test_work_of_one_who_died(server: pyzkserver.Server, alice: KazooClient, bob: KazooClient) -> None:
    """Is done by another when the claim is gone, and not before."""
    mine, theirs = WorkQueue(alice, "/jobs"), WorkQueue(bob, "/jobs")
    mine.put(b"1")
    done: list[bytes] = []

    def die(item: bytes) -> None:
        server.faults.expire(alice)
        raise SystemExit

    with pytest.raises(SystemExit):
        mine.work(die)
    assert theirs.work(done.append)
    assert done == [b"1"]


def test_work_that_is_claimed_by_another(
    server: pyzkserver.Server, alice: KazooClient, bob: KazooClient
) -> None:
    """Two reach for the same item, and one has it."""
    mine, theirs = WorkQueue(alice, "/jobs"), WorkQueue(bob, "/jobs")
    mine.put(b"1")
    done: list[bytes] = []
    with server.faults.hold("create", "/jobs/claims/*", client=alice) as held:
        slow = in_thread(lambda: mine.work(done.append))
        held.wait_hit()
        assert theirs.work(lambda item: held.release())
    slow.join(PATIENCE)
    assert done == []


# --- the orchestrator ---------------------------------------------------------------------------------------


class Fleet:
    """The containers of a test, and who was elected."""

    def __init__(self, server: pyzkserver.Server) -> None:
        self.server = server
        self.spawned: dict[str, ThreadContainer] = {}
        self.elected: list[str] = []

    def spawn(self, name: str) -> Container:
        container = self.spawned[name] = ThreadContainer(self.server.hosts, "/t", name)
        return container

    def alive(self) -> list[str]:
        return sorted(path.rpartition("/")[2] for path in self.server.tree("/t") if path != "/t")


@pytest.fixture
def fleet(server: pyzkserver.Server, alice: KazooClient) -> Iterator[Fleet]:
    fleet = Fleet(server)
    orchestrator = Orchestrator(alice, fleet.spawn, wanted=3, lead=fleet.elected.append)
    orchestrator.start()
    try:
        until(lambda: fleet.elected and len(fleet.alive()) == 3)
        yield fleet
        until(lambda: all(fleet.spawned[name].client.connected for name in fleet.alive()))
    finally:
        orchestrator.stop()
    until(lambda: server.tree("/t").keys() == {"/t"})


def test_containers_are_started_and_one_leads(server: pyzkserver.Server, fleet: Fleet) -> None:
    """Each holds an ephemeral child of /t; the leader's name is there to be read."""
    assert fleet.alive() == ["container-1", "container-2", "container-3"]
    for name in fleet.alive():
        assert server.node(f"/t/{name}").ephemeral_owner == fleet.spawned[name].client.client_id[0]
    assert fleet.elected == ["container-1"]
    assert server.node("/t").data == b"container-1"


def test_a_container_that_dies_is_replaced(server: pyzkserver.Server, fleet: Fleet) -> None:
    """By its own end, or by that of its session; the leader stays."""
    fleet.spawned["container-2"].stop()
    until(lambda: fleet.alive() == ["container-1", "container-3", "container-4"])
    server.faults.expire(fleet.spawned["container-3"].client)
    until(lambda: fleet.alive() == ["container-1", "container-4", "container-5"])
    assert fleet.elected == ["container-1"]


def test_a_leader_that_dies_is_succeeded_and_replaced(server: pyzkserver.Server, fleet: Fleet) -> None:
    """Again and again."""
    for number in itertools.count(2):
        dead = fleet.elected[-1]
        server.faults.expire(fleet.spawned[dead].client)
        until(lambda number=number: len(fleet.elected) == number)  # type: ignore[misc]
        until(lambda dead=dead: dead not in fleet.alive() and len(fleet.alive()) == 3)  # type: ignore[misc]
        until(lambda: server.node("/t").data == fleet.elected[-1].encode())
        if number == 4:
            break
    assert len(set(fleet.elected)) == 4


def test_one_that_falls_silent_is_replaced_when_its_time_is_up(
    server: pyzkserver.Server, fleet: Fleet
) -> None:
    """Nothing is heard of it, so nothing happens until its session expires."""
    silent = fleet.spawned["container-1"]
    with server.faults.silence(client=silent.client):
        assert len(fleet.alive()) == 3
        server.advance(15, expire=silent.client)
        until(lambda: fleet.alive() == ["container-2", "container-3", "container-4"])
        until(lambda: fleet.elected == ["container-1", "container-2"])
    until(lambda: silent.client.state == "LOST")


def test_the_orchestrator_survives_faults(
    server: pyzkserver.Server, alice: KazooClient, fleet: Fleet
) -> None:
    """Lost replies of its own and of the containers, a restart of the server, and a late event."""
    server.faults.lose_reply("create", "/t/*", times=1)
    server.faults.lose_reply("set", "/t", times=1)
    server.faults.delay_event(3600, "child", "/t", client=alice, times=1)
    server.faults.expire(fleet.spawned["container-1"].client)
    assert "container-1" not in fleet.alive()
    server.advance(3600)
    until(lambda: fleet.alive() == ["container-2", "container-3", "container-4"])
    until(lambda: fleet.elected == ["container-1", "container-2"])
    server.restart()
    server.faults.expire(fleet.spawned["container-2"].client)
    until(lambda: fleet.alive() == ["container-3", "container-4", "container-5"])
    until(lambda: fleet.elected[-1] == "container-3")


def test_the_examples_are_short() -> None:
    """They are read by people."""
    from pathlib import Path

    for path in Path(__file__).parent.parent.glob("examples/*.py"):
        assert len(path.read_text().splitlines()) <= 150, path.name
