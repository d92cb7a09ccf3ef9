"""Observers that learn from followers (observerMasterPort), each kind as master and as observer, under either leader.

One port is meant for all masters, and all members are on one machine: of the voters one leads, and does not listen
there, and of two others one gets the port.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kazoo.protocol.states import WatchedEvent
from serving.talk import create, exists, get, sync

from pyzkserver.errors import ErrorCode

from .apache import free_port
from .books import writers
from .ensemble import JAVA, PYTHON, Ensemble, ensemble
from .test_ensembles import everyday_life, finish, name
from .test_reconfig import config, line
from .wire import Wire

MIXTURES = [
    (PYTHON, JAVA, JAVA),
    (PYTHON, PYTHON, JAVA),
    (JAVA, PYTHON, PYTHON),
    (JAVA, JAVA, PYTHON),
    (PYTHON, PYTHON, PYTHON),
    (JAVA, PYTHON, JAVA),
    (JAVA, JAVA, JAVA),
    (PYTHON, "3.8", "3.8"),
    ("3.8", PYTHON, PYTHON),
]
"""The observer's master, the leader, the observer."""
if JAVA == "3.8":
    MIXTURES = MIXTURES[:7]

slow = [pytest.mark.slow, pytest.mark.interop, pytest.mark.timeout(400)]


@contextmanager
def mastered(folder: Path, *kinds: str, **more: dict[str, str]) -> Iterator[Ensemble]:
    """Of these members the last observes; the one before leads, if members 1 and it are started first."""
    settings = {"observerMasterPort": str(free_port()), **more.pop("settings", {})}
    with ensemble(folder, kinds, observers=1, settings=settings, **more) as running:
        yield running


def synced_observers(running: Ensemble, number: int) -> int:
    """How many observers learn from this member, by its own account."""
    for told in running[number].word("mntr").splitlines():
        if told.startswith("zk_synced_observers"):
            return int(float(told.split()[1]))
    return 0


def learns_from(running: Ensemble, number: int) -> None:
    """Wait until the observer has this master, and no other."""
    running.wait(lambda: synced_observers(running, number) == 1, f"the observer learns from {number}")
    others = [member.number for member in running.members[:-1] if member.number != number and member.process]
    assert [synced_observers(running, other) for other in others] == [0] * len(others)


def watched(running: Ensemble) -> None:
    """The observer's clients are told what happens elsewhere, and see it after a sync."""
    writer, reader = running.client(2), running.client(3)
    events: list[WatchedEvent] = []
    told = threading.Event()

    def watcher(event: WatchedEvent) -> None:
        events.append(event)
        told.set()

    for number in range(50):
        writer.create(f"/seen-{number}")
        reader.sync("/")
        assert reader.exists(f"/seen-{number}")
    assert reader.exists("/told", watch=watcher) is None
    writer.create("/told")
    assert told.wait(30)
    assert [(event.type, event.path) for event in events] == [("CREATED", "/told")]


@pytest.mark.interop
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kinds", [(PYTHON, PYTHON, JAVA), (JAVA, PYTHON, PYTHON)], ids=name)
def test_an_observer_and_a_master_of_two_kinds(kinds: tuple[str, ...], tmp_path: Path) -> None:
    """The quick one: it forms, clients of the observer live their lives, and all hold the same in the end."""
    with mastered(tmp_path, *kinds) as running:
        running.lead_by(2)
        learns_from(running, 1)
        watched(running)
        finish(running, tmp_path)


class TestMixtures:
    """Each mixture."""

    pytestmark = slow

    @pytest.mark.parametrize("kinds", MIXTURES, ids=name)
    def test_everyday_life(self, kinds: tuple[str, ...], tmp_path: Path) -> None:
        """Nodes, errors, watches, ephemerals, permissions, expiry, moving sessions: a third by the observer."""
        with mastered(tmp_path, *kinds) as running:
            running.lead_by(2)
            learns_from(running, 1)
            everyday_life(running)
            watched(running)
            learns_from(running, 1)
            finish(running, tmp_path)

    @pytest.mark.parametrize("kinds", MIXTURES, ids=name)
    def test_the_observer_comes_back(self, kinds: tuple[str, ...], tmp_path: Path) -> None:
        """Under load; by a DIFF after a moment, by its master's tree where it lacks more than is kept."""
        properties = {"zookeeper.snapshotSizeFactor": "-1"}
        with mastered(tmp_path, *kinds, properties=properties) as running:
            running.lead_by(2)
            learns_from(running, 1)
            client = running.client(2)
            with writers([running.client(1), client]) as books:
                for many in (10, 1200):
                    running[3].kill()
                    client.create(f"/many-{many}")
                    for pending in [
                        client.create_async(f"/many-{many}/{number}", b"x" * 100) for number in range(many)
                    ]:
                        pending.get(60)
                    running.form(3)
                    learns_from(running, 1)
                    reader = running.client(3)
                    reader.sync("/")
                    assert len(reader.get_children(f"/many-{many}")) == many
            finish(running, tmp_path, books)

    @pytest.mark.parametrize("kinds", MIXTURES, ids=name)
    def test_the_members_change(self, kinds: tuple[str, ...], tmp_path: Path) -> None:
        """A reconfiguration that concerns neither master nor observer reaches the observer, and it stays."""
        settings, properties = {"reconfigEnabled": "true"}, {"zookeeper.skipACL": "yes"}
        with mastered(tmp_path, *kinds, settings=settings, properties=properties) as running:
            running.lead_by(2)
            learns_from(running, 1)
            session = running.client(3).client_id
            quorum, election, port = (free_port() for _ in range(3))
            joining = f"server.9=127.0.0.1:{quorum}:{election}:observer;127.0.0.1:{port}"
            running.client(3).reconfig(joining, None, None)
            for number in (1, 2, 3):
                assert joining in config(running, number)[0]
            assert line(running[2]).split(";")[0] in config(running, 3)[0]
            learns_from(running, 1)
            client = running.clients[0]
            assert client.client_id == session
            client.create("/afterwards")
            finish(running, tmp_path)


FAILOVERS = [
    (PYTHON, PYTHON, JAVA, JAVA),
    (PYTHON, PYTHON, PYTHON, JAVA),
    (PYTHON, PYTHON, JAVA, PYTHON),
    (PYTHON, PYTHON, PYTHON, PYTHON),
]


class TestFailovers:
    """Masters that are killed.  All that follow are of ours: one of Apache's gives up where another has its port."""

    pytestmark = slow

    @pytest.mark.parametrize("kinds", FAILOVERS, ids=name)
    def test_the_master_is_killed(self, kinds: tuple[str, ...], tmp_path: Path) -> None:
        """Under load, again and again: the observer goes to the other one, and its clients' sessions go on."""
        with mastered(tmp_path, *kinds) as running:
            running.form(1, 3)
            running.form(2, 4)
            assert running[3].mode() == "leader"
            learns_from(running, 1)
            client = running.client(4)
            client.create("/alive", ephemeral=True)
            with writers([client, running.client(3)]) as books:
                for killed, other in ((1, 2), (2, 1)):
                    time.sleep(0.5)
                    running[killed].kill()
                    learns_from(running, other)
                    time.sleep(0.5)
                    running.form(killed)
            client.sync("/")
            assert client.exists("/alive")
            finish(running, tmp_path, books)

    @pytest.mark.parametrize("kinds", [FAILOVERS[1], FAILOVERS[3]], ids=name)
    def test_the_leader_is_killed(self, kinds: tuple[str, ...], tmp_path: Path) -> None:
        """Then masters and observers look for the next one; sessions that came by the observer are not lost."""
        with mastered(tmp_path, *kinds) as running:
            running.form(1, 3)
            running.form(2, 4)
            learns_from(running, 1)
            client = running.client(4)
            client.create("/alive", ephemeral=True)
            with writers([client]) as books:
                for _ in range(2):
                    leader = running.formed()
                    leader.kill()
                    running.formed()
                    time.sleep(1)
                    running.form(leader.number)
            client.sync("/")
            assert client.exists("/alive")
            finish(running, tmp_path, books)

    def test_a_session_moves_between_master_and_observer(self, tmp_path: Path) -> None:
        """From the follower to its observer of Apache's, back, and to the leader."""
        with mastered(tmp_path, PYTHON, JAVA, JAVA) as running:
            running.lead_by(2)
            learns_from(running, 1)
            wire = Wire(running[1].client_port)
            session, left = wire.session, 1
            for number in (3, 1, 3, 2, 3, 1):
                moved = Wire(running[number].client_port, session=session)
                assert moved.session.session_id == session.session_id
                moved.ask(sync())
                assert moved.ask(exists("/")).err == 0
                if (left, number) == (1, 3):
                    assert wire.read_frame() == b"", "the connection that it left, of ours, is closed"
                left = number
                wire.hang_up()
                wire = moved
            assert wire.ask(get("/")).err == 0
            wire.hang_up()
            finish(running, tmp_path)

    @pytest.mark.parametrize("kinds", [(PYTHON, JAVA, JAVA), (PYTHON, JAVA, PYTHON)], ids=name)
    def test_what_a_moved_session_asks_where_it_was(self, kinds: tuple[str, ...], tmp_path: Path) -> None:
        """It is refused by either leader, and in its turn: the session and all others go on at the observer."""
        with mastered(tmp_path, *kinds) as running:
            running.lead_by(2)
            learns_from(running, 1)
            old, other = Wire(running[3].client_port), Wire(running[3].client_port)
            with old, other, Wire(running[1].client_port, session=old.session) as moved:
                moved.ask(sync())
                assert old.ask(create("/late")).err == ErrorCode.MARSHALLING_ERROR
                old.ask(sync())
                other.ask(sync())
                assert other.ask(exists("/late")).err == ErrorCode.NO_NODE
                with Wire(running[3].client_port, session=old.session) as back:
                    assert back.ask(create("/back")).err == 0
            finish(running, tmp_path)
