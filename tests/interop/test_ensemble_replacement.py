"""A running ensemble changes hands, member by member, and back: no client notices, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from .books import writers
from .ensemble import JAVA, PYTHON, Ensemble, ensemble
from .test_ensembles import finish

pytestmark = [pytest.mark.slow, pytest.mark.interop, pytest.mark.timeout(500)]


@contextmanager
def a_counter(client: KazooClient) -> Iterator[list[int]]:
    """Counts in one node up to what was acknowledged, and never sees less than that."""
    client.create("/counter", b"0")
    counted, failures, stop = [0], [], threading.Event()

    def count() -> None:
        number = 0
        try:
            while not stop.is_set():
                try:
                    number += 1
                    client.set("/counter", str(number).encode())
                    counted[0] = number
                    assert int(client.get("/counter")[0]) >= number
                except KazooException:
                    stop.wait(0.02)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    yield counted
    stop.set()
    thread.join(60)
    assert not failures, failures


def replace_all(running: Ensemble, kind: str, order: list[int]) -> None:
    """One after the other, as one replaces servers: the leader when its turn comes."""
    for number in order:
        time.sleep(0.5)
        running.become(number, kind)


@pytest.mark.parametrize("java", sorted({JAVA, "3.8"}))
@pytest.mark.parametrize("order", [[1, 2, 3], [3, 2, 1]], ids=["leader last", "leader first"])
def test_from_apaches_to_ours_and_back(order: list[int], java: str, tmp_path: Path) -> None:
    """Three of Apache's become three of ours, and those Apache's again, in the same directories, under load.

    Sessions, with their ephemeral nodes, outlive both; every acknowledged write is there at the end.
    """
    with ensemble(tmp_path, (java, java, java), settings={"snapCount": "500"}) as running:
        running.lead_by(3)
        clients = [running.client(*order) for order in ((1, 2, 3), (2, 3, 1), (3, 1, 2))]
        sessions = [client.client_id[0] for client in clients]
        for number, client in enumerate(clients):
            client.create(f"/alive-{number}", ephemeral=True)
        with writers(clients) as books, a_counter(running.client()) as counted:
            replace_all(running, PYTHON, order)
            assert {member.kind for member in running.members} == {PYTHON}
            time.sleep(1)
            replace_all(running, java, order)
        for number, client in enumerate(clients):
            assert client.client_id[0] == sessions[number]
            client.sync("/")
            assert client.get(f"/alive-{number}")[1].ephemeralOwner == sessions[number]
        assert int(clients[0].get("/counter")[0]) >= counted[0] > 0
        finish(running, tmp_path, books)


@pytest.mark.parametrize(
    "kinds",
    [(JAVA, PYTHON, JAVA, PYTHON), (PYTHON, JAVA, PYTHON, JAVA), (JAVA, JAVA, JAVA, JAVA)],
    ids=" ".join,
)
def test_an_observer(kinds: tuple[str, ...], tmp_path: Path) -> None:
    """It sees everything, forwards writes, does not count for a quorum, and is brought up to date as others are."""
    with ensemble(tmp_path, kinds, observers=1) as running:
        running.lead_by(3)
        assert running[4].mode() == "observer"
        watcher, writer = running.client(4), running.client(1)
        seen = threading.Event()
        watcher.create("/by-the-observer", b"x")
        watcher.get("/by-the-observer", watch=lambda event: seen.set())
        writer.sync("/")
        writer.set("/by-the-observer", b"y")
        assert seen.wait(30)
        watcher.create("/mortal", ephemeral=True)
        writer.sync("/")
        assert writer.get("/mortal")[1].ephemeralOwner == watcher.client_id[0]
        running[4].kill()
        for pending in [writer.create_async(f"/missed-{number}", b"") for number in range(50)]:
            pending.get(30)
        running.form(4)
        watcher.sync("/")
        assert watcher.exists("/missed-49")
        assert watcher.exists("/mortal")
        running[1].kill()  # two of three voters are left
        watcher.set("/by-the-observer", b"z")
        running.form(1)
        running[1].kill()
        running[2].kill()  # one of three: the observer must not make it two
        running.wait(lambda: running[3].mode() != "leader", "the leader gives up")
        running.form(1, 2)
        finish(running, tmp_path)
