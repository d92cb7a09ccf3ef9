"""Ensembles of Apache's members and ours: each mixture, each kind leading, nobody sees a difference.

``pytest -m slow tests/interop/test_ensembles.py`` runs all of it.  The all-Java ensembles in it are the control: what
these tests ask for is what Apache's do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoAuthError, NodeExistsError, NoNodeError
from kazoo.protocol.states import EventType, WatchedEvent
from kazoo.security import make_digest_acl
from serving.talk import create, exists, get, sync

from .books import Writer, assert_identical, writers
from .ensemble import JAVA, PYTHON, Ensemble, ensemble
from .wire import Wire

MIXTURES = [
    (JAVA, JAVA, PYTHON),
    (PYTHON, JAVA, PYTHON),
    (PYTHON, PYTHON, JAVA),
    (JAVA, PYTHON, JAVA),
    (PYTHON, PYTHON, PYTHON),
    (JAVA, JAVA, JAVA),
    ("3.8", PYTHON, PYTHON),
    (PYTHON, PYTHON, "3.8"),
]
"""Of these the last one leads."""
if JAVA == "3.8":
    MIXTURES = MIXTURES[:6]

slow = [pytest.mark.slow, pytest.mark.interop, pytest.mark.timeout(400)]


def name(kinds: tuple[str, ...]) -> str:
    return " ".join(kinds)


def finish(running: Ensemble, folder: Path, books: Sequence[Writer] = ()) -> None:
    """All clients leave, all members stop, and have the same: all that was acknowledged, and no more than asked."""
    for client in running.clients:
        client.stop()
    running.wait(lambda: len({member.zxid() for member in running.members}) == 1, "all have all")
    running.stop()
    tree = assert_identical(running, folder / "copies")
    for book in books:
        assert len(book.acknowledged) > 20
        book.check(tree)


# --- what clients do ----------------------------------------------------------------------------------------


def everyday_life(running: Ensemble) -> None:
    """What clients of different members see of each other."""
    one, two, three = clients = [running.client(number) for number in (1, 2, 3)]
    nodes_and_errors(clients)
    watches(one, two, three)
    ephemerals(running, one, three)
    permissions(one, two, three)
    expiry(running, two)
    moving_sessions(running)


def nodes_and_errors(clients: list[KazooClient]) -> None:
    one, two, three = clients
    one.create("/plain", b"one")
    two.sync("/")
    assert two.get("/plain")[0] == b"one"
    stat = three.set("/plain", b"three", version=0)
    one.sync("/")
    assert one.get("/plain") == (b"three", stat)
    for client in clients:
        with pytest.raises(NodeExistsError):
            client.create("/plain")
        with pytest.raises(BadVersionError):
            client.set("/plain", b"", version=7)
        with pytest.raises(NoNodeError):
            client.delete("/none")
    one.create("/line")
    made = [client.create_async("/line/x", sequence=True) for client in clients for _ in range(20)]
    assert sorted(each.get(30) for each in made) == [f"/line/x{number:010}" for number in range(60)]
    transaction = two.transaction()
    transaction.create("/multi", b"1")
    transaction.check("/plain", 1)
    transaction.set_data("/plain", b"again")
    assert transaction.commit()[0] == "/multi"
    failing = three.transaction()
    failing.delete("/multi")
    failing.check("/plain", 99)
    assert [type(result).__name__ for result in failing.commit()] == ["RolledBackError", "BadVersionError"]
    one.sync("/")
    assert one.get("/plain")[1].czxid < one.get("/multi")[1].czxid
    assert len({str(client.get_children("/line", include_data=True)[1]) for client in clients}) == 1


def watches(one: KazooClient, two: KazooClient, three: KazooClient) -> None:
    seen: list[WatchedEvent] = []
    arrived = threading.Event()

    def watcher(event: WatchedEvent) -> None:
        seen.append(event)
        arrived.set()

    def hears(kind: str, path: str) -> None:
        assert arrived.wait(30), f"{kind} {path}"
        arrived.clear()
        assert [(event.type, event.path) for event in seen] == [(kind, path)]
        seen.clear()

    one.create("/watched")
    two.sync("/watched")
    two.get("/watched", watch=watcher)
    three.set("/watched", b"x")
    hears(EventType.CHANGED, "/watched")
    two.get_children("/watched", watch=watcher)
    one.create("/watched/child")
    hears(EventType.CHILD, "/watched")
    three.sync("/")
    three.exists("/watched/child", watch=watcher)
    two.delete("/watched/child")
    hears(EventType.DELETED, "/watched/child")
    three.exists("/watched/child", watch=watcher)
    one.create("/watched/child")
    hears(EventType.CREATED, "/watched/child")


def ephemerals(running: Ensemble, one: KazooClient, three: KazooClient) -> None:
    mortal = running.client(2)
    gone = threading.Event()
    mortal.create("/mortal", ephemeral=True)
    one.sync("/")
    stat = one.exists("/mortal", watch=lambda event: gone.set())
    assert stat is not None
    assert stat.ephemeralOwner == mortal.client_id[0]
    running.clients.remove(mortal)
    mortal.stop()
    mortal.close()
    assert gone.wait(30)
    three.sync("/")
    assert three.exists("/mortal") is None


def permissions(one: KazooClient, two: KazooClient, three: KazooClient) -> None:
    acl = [make_digest_acl("ann", "secret", all=True)]
    one.create("/locked", b"x", acl=acl)
    two.sync("/")
    with pytest.raises(NoAuthError):
        two.get("/locked")
    with pytest.raises(NoAuthError):
        three.set("/locked", b"y")
    two.add_auth("digest", "ann:secret")
    two.set("/locked", b"z")
    three.sync("/")
    with pytest.raises(NoAuthError):
        three.get("/locked")


def expiry(running: Ensemble, other: KazooClient) -> None:
    """A client that falls silent on one member: the leader ends its session, and others hear of it."""
    for number in (1, 2, 3):
        gone = threading.Event()
        with Wire(running[number].client_port, timeout=1000) as wire:
            assert wire.ask(create("/silent", flags=1)).err == 0
            other.sync("/")
            assert other.exists("/silent", watch=lambda event, gone=gone: gone.set()) is not None
            began = time.monotonic()
            assert gone.wait(30)
            assert time.monotonic() - began > 0.4


def moving_sessions(running: Ensemble) -> None:
    """From member to member, with its ephemeral node; the connection that it leaves is closed."""
    first = Wire(running[1].client_port)
    assert first.ask(create("/moving", flags=1)).err == 0
    zxid = first.ask(sync()).zxid
    second = Wire(running[2].client_port, session=first.session, last_zxid=0)
    assert second.session.session_id == first.session.session_id
    second.ask(sync())
    assert second.ask(exists("/moving")).err == 0
    running.wait(lambda: running[3].zxid() >= zxid, "member 3 has heard of what its new client has seen")
    third = Wire(running[3].client_port, session=first.session, last_zxid=zxid)
    third.ask(sync())
    assert third.ask(create("/moving/child")).err == -108
    assert third.ask(get("/moving")).err == 0
    forged = first.session._replace(password=b"x" * 16)
    stranger = Wire(running[1].client_port, session=forged)
    assert stranger.welcome is None or stranger.welcome.timeout == 0
    for wire in (first, second, third, stranger):
        wire.hang_up()


@pytest.mark.interop
@pytest.mark.timeout(180)
def test_two_of_ours_and_one_of_apaches(tmp_path: Path) -> None:
    """The quick one: whoever leads, clients of all members live one life, and a member comes back."""
    with ensemble(tmp_path, (PYTHON, JAVA, PYTHON)) as running:
        running.form()
        everyday_life(running)
        running[1].kill()
        running.client(2, 3).create("/meanwhile")
        running.form(1)
        assert running.client(1).exists("/meanwhile")
        finish(running, tmp_path)


class TestMixtures:
    """Each mixture, with each kind leading."""

    pytestmark = slow

    @pytest.mark.parametrize("kinds", MIXTURES, ids=name)
    def test_everyday_life(self, kinds: tuple[str, ...], tmp_path: Path) -> None:
        """Nodes, errors, watches, ephemerals, permissions, expiry and moving sessions across members."""
        with ensemble(tmp_path, kinds) as running:
            running.lead_by(3)
            everyday_life(running)
            finish(running, tmp_path)

    @pytest.mark.parametrize("kinds", MIXTURES, ids=name)
    def test_killed_in_turn(self, kinds: tuple[str, ...], tmp_path: Path) -> None:
        """Each is killed and comes back, the leaders too, while clients of all write; nothing is lost."""
        with ensemble(tmp_path, kinds) as running:
            running.lead_by(3)
            clients = [running.client(*order) for order in ((1, 2, 3), (2, 3, 1), (3, 1, 2))]
            sessions = [client.client_id[0] for client in clients]
            for number, client in enumerate(clients):
                client.create(f"/alive-{number}", ephemeral=True)
            with writers(clients) as books:
                for number in (1, 2, 3, running.formed().number):
                    time.sleep(0.5)
                    running[number].kill()
                    running.formed()
                    time.sleep(0.5)
                    running.form(number)
            assert [client.client_id[0] for client in clients] == sessions
            for number, client in enumerate(clients):
                client.sync("/")
                assert client.exists(f"/alive-{number}"), "its session outlived every member"
            finish(running, tmp_path, books)
