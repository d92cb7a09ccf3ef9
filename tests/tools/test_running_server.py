"""The tools beside a running server of ours: what they read is one moment's state, and nothing is disturbed."""

import json
import threading
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient

from pyzkserver import Server

from .helpers import Tool


class Writer(threading.Thread):
    """A client that creates nodes one after the other, and deletes each one when the next is there."""

    def __init__(self, hosts: str) -> None:
        super().__init__()
        self.client = KazooClient(hosts)
        self.client.start()
        self.enough = threading.Event()
        self.count = 0

    def run(self) -> None:
        self.client.create("/q", b"")
        while not self.enough.is_set():
            pending = [self.client.create_async(f"/q/{self.count + i}", b"x" * 1000) for i in range(50)]
            pending += [self.client.set_async("/q", b"%d" % (self.count + i)) for i in range(50)]
            for each in pending:
                each.get(30)
            self.count += 50

    def stop(self) -> None:
        self.enough.set()
        self.join(60)
        self.client.stop()
        self.client.close()


def test_a_dump_is_one_moment(tool: Tool, tmp_path: Path) -> None:
    """However much is written, rolled and purged meanwhile: all up to the dump's zxid is there, and no more."""
    with Server(data_dir=tmp_path, snap_count=300, pre_alloc_size=64) as server:
        writer = Writer(server.hosts)
        writer.start()
        zxids = []
        try:
            while len(zxids) < 12 or (writer.count < 1000 and writer.is_alive()):
                outcome = tool("dump", tmp_path)
                assert outcome.status == 0, outcome.err
                dump = json.loads(outcome.out)
                check_is_one_moment(dump)
                zxids.append(int(dump["zxid"], 16))
                assert tool("purge", "-n", 3, tmp_path).status == 0
        finally:
            writer.stop()
        assert zxids == sorted(zxids)
        assert zxids[-1] > zxids[0]
        dump = json.loads(tool("dump", tmp_path).out)
        assert len(dump["root"]["children"]["q"]["children"]) == writer.count


def check_is_one_moment(dump: dict[str, Any]) -> None:
    """The writer's transactions follow one another: 50 creates, 50 sets, and so on."""
    queue = dump["root"]["children"].get("q")
    if queue is None:
        return
    created = len(queue.get("children", {}))
    changed = queue["stat"].get("version", 0)
    first = int(queue["stat"]["czxid"], 16)
    assert created + changed == int(dump["zxid"], 16) - first
    assert queue["stat"].get("cversion", 0) == created
    assert changed <= created


def test_what_was_acknowledged_is_there(tool: Tool, tmp_path: Path) -> None:
    """Whatever a client was told is in a dump that begins after that; the log and the snapshot can be read."""
    with Server(data_dir=tmp_path) as server:
        client = KazooClient(server.hosts)
        client.start()
        for number in range(20):
            client.create(f"/n{number}", b"%d" % number, ephemeral=number % 2 == 0)
            dump = json.loads(tool("dump", tmp_path).out)
            assert f"n{number}" in dump["root"]["children"]
            assert list(dump["sessions"]) == [hex(client.client_id[0])]
        version = tmp_path / "version-2"
        assert tool("log", "--verify", *version.glob("log.*")).status == 0
        assert tool("snapshot", "--verify", *version.glob("snapshot.*")).status == 0
        assert tool("log", "--repair", "--yes", *version.glob("log.*")).status == 1
        client.stop()
        client.close()


def test_our_server_starts_on_what_was_restored(tool: Tool, tmp_path: Path) -> None:
    """Data, ACLs, stats, and the next sequence number, as clients see them; a session goes on."""
    with Server(data_dir=tmp_path / "a") as server:
        client = KazooClient(server.hosts)
        client.start()
        for _ in range(3):
            client.create("/q/n-", b"x", sequence=True, makepath=True)
        client.delete("/q/n-0000000002")
        client.create("/e", b"", ephemeral=True)
        client.set("/q", b"\xff\x00")
        seen = {path: client.get(path) for path in ("/", "/q", "/q/n-0000000000", "/e")}
        dumped = tool("dump", tmp_path / "a").out
        session = client.client_id
        server.stop()
        restored = tool("restore", "-", tmp_path / "b", answer=dumped)
        assert restored.status == 0, restored
        client.stop()
        client.close()
    with Server(data_dir=tmp_path / "b") as server:
        client = KazooClient(server.hosts, client_id=session)
        client.start()
        assert client.client_id[0] == session[0]
        assert {path: client.get(path) for path in seen} == seen
        assert client.create("/q/n-", sequence=True) == "/q/n-0000000003"
        client.stop()
        client.close()
