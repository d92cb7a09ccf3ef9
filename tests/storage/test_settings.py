"""What the configuration says of storage, in the units in which it says it, is what happens on the disk."""

import errno
from typing import Any

import pytest
import trio
from serving.talk import create, set_data
from sim.caller import Caller
from sim.server import DATA_DIR, SimServer

from pyzkserver.storage.logfile import HEADER_SIZE, file_header
from pyzkserver.storage.recovery import DataDirectoryError

from .directories import VERSION_2, error_txn, log_bytes, new_disk, nothing, serve

BLOCK = b"x" * 600


def files_after(writes: int, *, seconds: float = 1.0, **changes: Any) -> dict[str, int]:
    """Sizes of the files that a server leaves after so many writes of 600 bytes, a flush for each."""

    async def main(server: SimServer) -> None:
        caller = Caller(server)
        await caller.greet()
        await caller.write(create("/a"))
        for _ in range(writes):
            await caller.write(set_data("/a", BLOCK))
        await trio.sleep(seconds)

    disk = serve(new_disk(), main, **changes).host.disk
    return {name: len(disk.contents(VERSION_2 / name)) for name in disk.listing(VERSION_2)}


def test_pre_alloc_size() -> None:
    """preAllocSize is in KiB."""
    assert files_after(1, pre_alloc_size=9)["log.1"] == 9 * 1024
    assert files_after(1, pre_alloc_size=64)["log.1"] == 64 * 1024


def test_txn_log_size_limit() -> None:
    """txnLogSizeLimitInKb: a file that is larger is not gone on with; 0 and less is no limit (the default)."""
    assert set(files_after(6, txn_log_size_limit_in_kb=2)) == {"snapshot.0", "log.1", "log.6"}
    for unlimited in ({}, {"txn_log_size_limit_in_kb": 0}, {"txn_log_size_limit_in_kb": -1}):
        assert set(files_after(6, **unlimited)) == {"snapshot.0", "log.1"}


def test_snap_size_limit() -> None:
    """snapSizeLimitInKb: a snapshot is due when half of that was logged, or all of it, or something between."""
    assert set(files_after(3, snap_size_limit_in_kb=6)) == {"snapshot.0", "log.1"}
    assert "snapshot.c" in files_after(10, snap_size_limit_in_kb=6)
    assert set(files_after(10, snap_size_limit_in_kb=0)) == {"snapshot.0", "log.1"}


@pytest.mark.parametrize("method", ["gz", "snappy"])
def test_snapshot_compression_method(method: str) -> None:
    """The first one and all others, and the next server reads them."""

    async def main(server: SimServer) -> None:
        caller = Caller(server)
        await caller.greet()
        await caller.write(create("/a"), set_data("/a", BLOCK))
        await trio.sleep(1)

    server = serve(new_disk(), main, snap_count=2, snapshot_compression_method=method)
    names = sorted(server.host.disk.listing(VERSION_2))
    assert names == ["log.1", f"snapshot.0.{method}", f"snapshot.3.{method}"]
    again = serve(server.host.disk.kill(), nothing)
    assert again.recovered.snapshot_zxid == 3
    assert again.recovered.tree.nodes["/a"].data == BLOCK


def test_auto_purge() -> None:
    """autopurge.snapRetainCount is how many stay, autopurge.purgeInterval is in hours, beginning with the start."""
    counts: list[int] = []

    async def main(server: SimServer) -> None:
        caller = Caller(server)
        await caller.greet(timeout=10**6)
        for number in range(18):
            await caller.write(create(f"/{number}"))
            await trio.sleep(0.2)
        await trio.sleep(60)
        for _ in range(2):
            names = server.host.disk.listing(VERSION_2)
            counts.append(sum(name.startswith("snapshot.") for name in names))
            await trio.sleep(3600 - 120)

    changes = {"auto_purge_purge_interval": 1, "auto_purge_snap_retain_count": 4, "snap_count": 2}
    server = serve(new_disk(), main, tick_time=60_000, **changes)
    names = server.host.disk.listing(VERSION_2)
    assert 5 < counts[0] <= counts[1]
    assert sum(name.startswith("snapshot.") for name in names) == 4


def test_snapshot_trust_empty() -> None:
    """Logs without any snapshot are refused unless that is said; then there is one."""
    disk = new_disk()
    disk.make_directory(VERSION_2)
    disk.put(VERSION_2 / "log.1", log_bytes([error_txn(1)]))
    with pytest.raises(DataDirectoryError, match=r"snapshot\.trust\.empty=true"):
        serve(disk, nothing)
    assert disk.listing(VERSION_2) == ["log.1"]
    assert serve(disk, nothing, snapshot_trust_empty=True).recovered.tree.last_zxid == 1
    assert sorted(disk.listing(VERSION_2)) == ["log.1", "snapshot.1"]
    serve(disk, nothing)


def test_a_directory_whose_name_was_never_made_durable() -> None:
    """A start that ended while it made the directory has left it: what the next one keeps there must be safe."""

    async def main(server: SimServer) -> None:
        caller = Caller(server)
        await caller.greet()
        await caller.write(create("/a"))

    for seed in range(20):
        disk = new_disk()
        disk.fail_at(1, errno.EIO, half=True)
        with pytest.raises(DataDirectoryError, match=f"{DATA_DIR}"):
            serve(disk, nothing)
        disk.mend()
        serve(disk, main)
        assert "/a" in serve(disk.crash(seed), nothing).recovered.tree.nodes


def test_nothing_is_allocated_ahead_where_that_is_not_wanted() -> None:
    """preAllocSize=0 is not less than what is written."""
    size = files_after(3, pre_alloc_size=0)["log.1"]
    assert len(file_header()) == HEADER_SIZE
    assert 3 * len(BLOCK) < size < 4 * len(BLOCK)
