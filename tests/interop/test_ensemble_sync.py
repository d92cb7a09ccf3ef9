"""A follower of one kind is brought up to date by a leader of the other: with DIFF, TRUNC and SNAP."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.transaction import Transaction
from pyzkserver.storage.logfile import encode_transaction, file_header, frame_entry, log_name
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateTxn

from .books import assert_identical, contents
from .ensemble import JAVA, PYTHON, Ensemble, Member, ensemble

PAIRS = [(PYTHON, JAVA), (JAVA, PYTHON), (PYTHON, PYTHON), (JAVA, JAVA)]
if JAVA != "3.8":
    PAIRS += [(PYTHON, "3.8"), ("3.8", PYTHON)]
SAYS = {
    # What Apache's follower says of each, and what Apache's leader does (Learner, LearnerHandler).
    "DIFF": ("Getting a diff from the leader", "Sending DIFF"),
    "TRUNC": ("Truncating log to get in sync", "peerLastZxid"),
    "SNAP": ("Getting a snapshot from leader", "Sending snapshot last zxid"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.interop,
    pytest.mark.timeout(300),
    pytest.mark.parametrize(("leader", "follower"), PAIRS, ids=lambda kind: kind),
]


def formed(running: Ensemble) -> KazooClient:
    """Member 2 leads, 3 follows; a client of 1."""
    running.start(1, 2)
    assert running.formed().number == 2
    running.form(3)
    client = running.client(1)
    client.create("/before", b"before")
    return client


def write(client: KazooClient, path: str, count: int) -> None:
    client.create(path)
    for pending in [client.create_async(f"{path}/{number}", b"x" * 100) for number in range(count)]:
        pending.get(60)


def comes_back(running: Ensemble, how: str) -> None:
    """Member 3 is brought up to date in that way, as far as those of Apache's say it."""
    marks = [member.mark() for member in running.members]
    running.form(3)
    for number, says in ((3, SAYS[how][0]), (2, SAYS[how][1])):
        if running[number].kind != PYTHON:
            assert says in running[number].said(marks[number - 1])


def finish(running: Ensemble, folder: Path, gone: Sequence[str] = ()) -> None:
    """A client of 3 sees what one of 1 sees; and when all have stopped they have the same."""
    one, three = running.client(1), running.client(3)
    one.create("/after", b"after")
    three.sync("/")
    assert three.get("/after") == one.get("/after")
    for path in gone:
        assert three.exists(path) is None
    for client in running.clients:
        client.stop()
    running.wait(lambda: len({member.zxid() for member in running.members}) == 1, "all have all")
    running.stop()
    tree = assert_identical(running, folder / "copies")
    assert "/before" in tree.nodes
    assert not set(gone) & tree.nodes.keys()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_diff(leader: str, follower: str, how: str, tmp_path: Path) -> None:
    """It missed a few, which the leader has at hand."""
    with ensemble(tmp_path, (leader, leader, follower)) as running:
        client = formed(running)
        running[3].end() if how == "stopped" else running[3].kill()
        write(client, "/missed", 40)
        comes_back(running, "DIFF")
        finish(running, tmp_path)


def test_diff_from_the_log(leader: str, follower: str, tmp_path: Path) -> None:
    """It missed more than the leader has at hand, and the leader's log holds it."""
    properties = {"zookeeper.snapshotSizeFactor": "0"}
    with ensemble(tmp_path, (leader, leader, follower), properties=properties) as running:
        client = formed(running)
        running[3].kill()
        write(client, "/missed", 1200)
        comes_back(running, "DIFF")
        finish(running, tmp_path)


def test_snap(leader: str, follower: str, tmp_path: Path) -> None:
    """It missed more than the leader has at hand, and the leader may not look into its log."""
    properties = {"zookeeper.snapshotSizeFactor": "-1"}
    with ensemble(tmp_path, (leader, leader, follower), properties=properties) as running:
        client = formed(running)
        client.create("/alive", ephemeral=True)
        running[3].kill()
        write(client, "/missed", 1200)
        comes_back(running, "SNAP")
        assert running.client(3).get("/alive")[1].ephemeralOwner == client.client_id[0]
        write(client, "/more", 20)
        running[3].kill()
        running.form(3)
        finish(running, tmp_path)


def test_one_that_has_nothing(leader: str, follower: str, tmp_path: Path) -> None:
    """Somebody emptied its directory."""
    with ensemble(tmp_path, (leader, leader, follower)) as running:
        client = formed(running)
        write(client, "/more", 700)
        running[3].kill()
        shutil.rmtree(running[3].data)
        running.form(3)
        finish(running, tmp_path)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("later", "how"), [(0, "TRUNC"), (30, "SNAP")])
def test_trunc(leader: str, follower: str, count: int, later: int, how: str, tmp_path: Path) -> None:
    """It led, and logged what nobody else got; then others led.  What it alone has is taken back.

    Across the border of an epoch Apache's leader sends a snapshot, for its learners cannot be cut there.
    """
    with ensemble(tmp_path, (leader, leader, follower)) as running:
        running.lead_by(3)
        client = running.client()
        client.create("/before", b"before")
        client.stop()
        running.wait(lambda: len({member.zxid() for member in running.members}) == 1, "all have all")
        running.stop()
        haunt(running[3], count, tmp_path / "copy")
        running.start(1, 2)
        assert running.formed().number == 2
        if later:
            write(running.client(1), "/later", later)
        comes_back(running, how)
        finish(running, tmp_path, [f"/ghost-{number}" for number in range(count)])


def haunt(member: Member, count: int, copy: Path) -> None:
    """Let a stopped member have logged so many more proposals."""
    tree = contents(member, copy).tree
    root = tree.nodes["/"].cversion
    entries = []
    for number in range(count):
        zxid = tree.last_zxid + 1 + number
        body = CreateTxn(f"/ghost-{number}", b"boo", OPEN_ACL, False, root + 1 + number)
        txn = Transaction(0x1234, number, zxid, 1_700_000_000_000, OpCode.CREATE, body)
        entries.append(frame_entry(encode_transaction(txn, None)))
    path = member.data / log_name(tree.last_zxid + 1)
    assert not path.exists()
    path.write_bytes(file_header() + b"".join(entries))
