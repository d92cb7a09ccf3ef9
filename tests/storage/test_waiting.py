"""Whoever writes does not wait for the disk because a snapshot is taken, or because old ones are deleted."""

import copy
import errno
import logging
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from sim.disk import SimDisk
from sim.host import SimHost, seeded_run

from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import purge
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.purge import purge_in_pieces
from pyzkserver.storage.recovery import log_files, recover, snapshot_files
from pyzkserver.storage.snaplayout import END_OF_NODES
from pyzkserver.storage.snapshots import Snapshotter, clear_unfinished
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateTxn

from .directories import OTHER_DIR, VERSION_2, new_disk, new_tree, put_log, put_snapshot, recovered
from .histories import History

STEP = 128 << 10
NODES = 100
DATA = bytes(30_000)


def large_tree() -> DataTree:
    """3 MB: twenty-five steps."""
    tree = new_tree()
    for zxid in range(1, NODES + 1):
        tree.apply(
            Transaction(
                0, 0, zxid, 0, OpCode.CREATE, CreateTxn(f"/{zxid}", DATA, list(OPEN_ACL), False, zxid)
            )
        )
    return tree


class Measured(SimDisk):
    """Knows how many bytes were written and not synced, at most, and the time of each sync."""

    def __init__(self) -> None:
        super().__init__(existing=(VERSION_2,))
        self.unsynced = self.most_unsynced = 0
        self.synced_at: list[float] = []

    def create(self, path: Path) -> Any:
        file = super().create(path)
        write, sync = file.write, file.sync

        def measured_write(data: bytes, position: int) -> None:
            self.unsynced += len(data)
            self.most_unsynced = max(self.most_unsynced, self.unsynced)
            write(data, position)

        def measured_sync() -> None:
            self.unsynced = 0
            self.synced_at.append(trio.current_time())
            sync()

        file.write, file.sync = measured_write, measured_sync  # type: ignore[method-assign]
        return file


def take(
    disk: SimDisk,
    *,
    logged: int = 0,
    log_bytes: int = 0,
    size_limit: int = 0,
    slowness: float = 0,
    patience: float = math.inf,
    unsynced_for: float = 0,
    **options: Any,
) -> Path | None:
    """Take a snapshot of a large tree, while so much has been logged since it began; or give it up after a while."""
    log = SimpleNamespace(
        roll=lambda: None,
        appended_since_roll=logged,
        bytes_since_roll=log_bytes,
        appended=NODES,
        synced=NODES,
    )

    async def sync_late() -> None:
        log.synced = 0
        await trio.sleep(unsynced_for)
        log.synced = NODES

    async def main() -> Path | None:
        host = SimHost(disk, slowness=slowness)
        if unsynced_for:
            trio.lowlevel.spawn_system_task(sync_late)
        snapshotter = Snapshotter(
            large_tree(),
            SessionTable(2000, 1),
            log,  # type: ignore[arg-type]
            disk,
            host._new_worker("background"),
            host,
            VERSION_2,
            snap_count=1000,
            size_limit_bytes=size_limit,
            compression="",
            **options,
        )
        path = None
        with trio.move_on_after(patience):
            path = await snapshotter.take()
        await trio.sleep(3 * slowness)  # the file is closed without waiting for it
        return path

    return seeded_run(0, main)


class TestSnapshots:
    """The disk takes them in small steps, so that the log's sync never stands behind much."""

    def test_a_snapshot_is_not_ahead_of_its_log(self) -> None:
        """It shows what was applied, and it is recovered with the zxid of its beginning: the log must have the rest.

        (Found by the seeds: a leader whose own disk hung had applied what its followers' disks had.)
        """
        disk = Measured()
        assert take(disk, unsynced_for=1000, patience=900) is None
        assert not snapshot_files(disk, VERSION_2)
        assert take(disk, unsynced_for=1000) is not None
        assert len(snapshot_files(disk, VERSION_2)) == 1

    def test_little_is_ever_unsynced(self) -> None:
        """Not more than a step and what came in one piece: a megabyte at the end held up every write."""
        disk = Measured()
        assert take(disk) == VERSION_2 / f"snapshot.{NODES:x}"
        size = len(disk.contents(VERSION_2 / f"snapshot.{NODES:x}"))
        assert size > NODES * len(DATA)
        assert disk.most_unsynced < STEP + 100_000
        assert disk.unsynced == 0
        assert size // (STEP + 100_000) < len(disk.synced_at) <= size // STEP + 1

    def test_it_rests_between_two_steps(self) -> None:
        """The disk is the log's."""
        disk = Measured()
        take(disk)
        *_, before_last, last = disk.synced_at
        assert {round(b - a, 3) for a, b in pairwise(disk.synced_at)} == {0.01}
        assert last > before_last

    def test_in_memory_there_is_nothing_to_wait_for(self) -> None:
        """No rests."""
        disk = Measured()
        take(disk, resting=False)
        assert disk.synced_at[-1] == disk.synced_at[0]

    @pytest.mark.parametrize(
        ("logged", "rests"),
        [
            pytest.param({"logged": 100_001}, 0, id="the next one is due"),
            pytest.param({"logged": 50_000}, 0.5, id="half of the time has passed"),
            pytest.param({"log_bytes": 10_001, "size_limit": 10_000}, 0, id="by bytes"),
            pytest.param({"log_bytes": 10_001}, 1, id="without a limit in bytes"),
        ],
    )
    def test_it_is_whole_before_the_next_one_is_due(self, logged: dict[str, int], rests: float) -> None:
        """Where much is logged it rests only as long as it is ahead; a small snapCount alone hurries nobody."""
        at_ease, disk = Measured(), Measured()
        take(at_ease)
        take(disk, **logged)
        most, found = at_ease.synced_at[-1] - at_ease.synced_at[0], disk.synced_at[-1] - disk.synced_at[0]
        assert found == pytest.approx(most * rests, abs=0.03)

    @pytest.mark.parametrize("size_limit", [0, 10_000])
    def test_when_one_is_due(self, size_limit: int) -> None:
        """Somewhere between half of snapCount (or of snapSizeLimitInKb) and all of it, so that members take turns."""

        async def main() -> set[int]:
            begins = set()
            for seed in range(50):
                host, log = SimHost(Measured(), Random(seed)), SimpleNamespace(bytes_since_roll=0)
                snapshotter = Snapshotter(
                    large_tree(),
                    SessionTable(2000, 1),
                    log,  # type: ignore[arg-type]
                    Measured(),
                    host._new_worker("background"),
                    host,
                    VERSION_2,
                    snap_count=1000,
                    size_limit_bytes=size_limit,
                    compression="",
                )
                for count in range(1002):
                    log.appended_since_roll = 0 if size_limit else count
                    log.bytes_since_roll = count * 10
                    if snapshotter.due():
                        begins.add(count)
                        break
                else:
                    pytest.fail("it is never due")
            return begins

        begins = seeded_run(0, main)
        assert 500 < min(begins) < 550
        assert 950 < max(begins) <= 1000
        assert len(begins) > 30

    @pytest.mark.parametrize("patience", [0.0001, 0.1])
    def test_a_role_that_ends_leaves_no_open_file(self, patience: float) -> None:
        """Nor one that is just being opened."""
        disk = Measured()
        assert take(disk, slowness=0.01, patience=patience) is None
        name = f"unfinished.snapshot.{NODES:x}"
        assert disk.journal.count(f"create {name}") == disk.journal.count(f"close {name}") == 1

    @pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
    def test_any_call_may_fail(self, error: int, caplog: pytest.LogCaptureFixture) -> None:
        """In the middle, too: then there is no snapshot, and no half of one; or there is all of it."""
        caplog.set_level(logging.CRITICAL)
        smooth = Measured()
        take(smooth)
        calls = Counter(call.split()[0] for call in smooth.journal)
        assert calls["sync"] > 8
        for call in range(1, len(smooth.journal) + 1):
            disk = Measured()
            disk.fail_at(call, error, half=True)
            path = take(disk)
            assert disk.calls >= call
            if path is None:
                assert not [name for name in disk.listing(VERSION_2) if name.startswith("unfinished.")]
            for after in (disk.kill(), disk.crash(call)):
                found = snapshot_files(after, VERSION_2)
                assert path is None or found
                if found:
                    assert len(recovered(after).tree.nodes) >= NODES


class TestPurge:
    """A file system that gives back hundreds of megabytes at once does nothing else meanwhile."""

    LARGE = 10 << 12

    @pytest.fixture(autouse=True)
    def small_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files of 40 KB are large where a piece is one of 16."""
        assert purge._PIECE == 4 << 20
        monkeypatch.setattr(purge, "_PIECE", 4 << 12)

    def old_directory(self, logs: Path = VERSION_2) -> tuple[SimDisk, History]:
        """Five snapshots and their logs; the oldest of both are large."""
        disk, history = new_disk(), History(1)
        for directory in (VERSION_2, logs):
            disk.make_directory(directory)
        for number in range(5):
            put_snapshot(disk, history)
            put_log(disk, [history.step() for _ in range(3)], logs)
            if number == 0:
                for path in (VERSION_2 / "snapshot.0", log_files(disk, logs)[0][1]):
                    disk.put(path, disk.contents(path) + bytes(self.LARGE))
        return disk, history

    @pytest.mark.parametrize("keep", [-1, 0, 2])
    def test_three_snapshots_always_stay(self, keep: int) -> None:
        """Whoever asks for fewer is refused before anything goes (``PurgeTxnLog``)."""
        disk, _ = self.old_directory()
        before = disk.listing(VERSION_2)
        with pytest.raises(ValueError, match="too few to keep: 3 at least"):
            next(purge_in_pieces(disk, VERSION_2, VERSION_2, keep))
        with pytest.raises(ValueError, match="too few to keep: 3 at least"):
            purge.purge(disk, VERSION_2, VERSION_2, keep)
        assert disk.listing(VERSION_2) == before

    def test_large_files_go_piece_by_piece(self) -> None:
        """A piece at a time, and under a name that nobody reads, known to be theirs before they are cut."""
        disk, _ = self.old_directory()
        assert all(purge_in_pieces(disk, VERSION_2, VERSION_2, 3))
        assert disk.journal.count("truncate purged.snapshot.0") == 2
        names = [
            call for call in disk.journal if not call.startswith(("read", "open", "size", "names", "shared"))
        ]
        cut = names.index("truncate purged.snapshot.0")
        assert names.index("sync directory version-2") < cut
        assert not [call for call in names[cut:] if call.startswith("rename")]
        assert len(snapshot_files(disk, VERSION_2)) == 3
        assert not [name for name in disk.listing(VERSION_2) if name.startswith("purged.")]

    def test_a_backup_by_hard_links_stays_whole(self, tmp_path: Path) -> None:
        """What is deleted here may have another name: only the one here goes."""
        here, backup = tmp_path / "version-2", tmp_path / "backup"
        here.mkdir()
        backup.mkdir()
        data = b"ZKSN" + bytes(self.LARGE) + END_OF_NODES
        for number in range(4):
            (here / f"snapshot.{number}").write_bytes(data)
            (backup / f"snapshot.{number}").hardlink_to(here / f"snapshot.{number}")
        assert all(purge_in_pieces(RealDisk(), here, here, 3))
        assert sorted(path.name for path in here.iterdir()) == ["snapshot.1", "snapshot.2", "snapshot.3"]
        assert (backup / "snapshot.0").read_bytes() == data

    def test_each_step_is_small(self) -> None:
        """Between two of them others have the disk: no step cuts, or deletes, more than a piece."""
        disk, _ = self.old_directory()
        sizes = [self.total(disk)]
        for _ in purge_in_pieces(disk, VERSION_2, VERSION_2, 3):
            sizes.append(self.total(disk))
        assert max(a - b for a, b in pairwise(sizes)) <= 4 << 12
        assert sizes[0] - sizes[-1] > 2 * self.LARGE

    @staticmethod
    def total(disk: SimDisk) -> int:
        return sum(len(disk.contents(VERSION_2 / name)) for name in disk.listing(VERSION_2))

    @pytest.mark.parametrize("logs", [VERSION_2, OTHER_DIR / "version-2"])
    def test_however_it_ends_the_directory_is_as_good_as_before(self, logs: Path) -> None:
        """Killed, without power, or refused at any call: what has a true name is whole, and the rest goes later."""
        smooth, history = self.old_directory(logs)
        before = smooth.calls
        whole = copy.deepcopy(smooth)
        for _ in purge_in_pieces(smooth, VERSION_2, logs, 3):
            pass
        for call in range(1, smooth.calls - before + 1):
            disk = copy.deepcopy(whole)
            disk.fail_at(call, errno.EIO, half=bool(call % 2))
            with pytest.raises(OSError, match="error"):
                for _ in purge_in_pieces(disk, VERSION_2, logs, 3):
                    pass
            for after in (disk, disk.kill(), disk.crash(call)):
                for _, path in [*snapshot_files(after, VERSION_2), *log_files(after, logs)]:
                    assert after.contents(path) == whole.contents(path), path
                found = recover(after, VERSION_2, logs, new_tree)
                assert found.tree.last_zxid == history.tree.last_zxid
                if call % 2:
                    clear_unfinished(after, VERSION_2)
                    clear_unfinished(after, logs)
                else:
                    assert all(purge_in_pieces(after, VERSION_2, logs, 3))
                names = after.listing(VERSION_2) + after.listing(logs)
                assert not [name for name in names if name.startswith("purged.")]
