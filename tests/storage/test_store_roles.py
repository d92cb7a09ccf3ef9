"""A store whose member changes its role: the log ends and begins anew, and its history is cut or replaced between."""

import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from sim.disk import SimDisk
from sim.host import SimHost, seeded_run
from sim.server import settings

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.epochs import Epochs
from pyzkserver.storage.filelog import FileLog, StorageFailed
from pyzkserver.storage.history import HistoryTooShort
from pyzkserver.storage.memory_disk import MemoryDisk
from pyzkserver.storage.recovery import Recovered
from pyzkserver.storage.store import Store

from .directories import VERSION_2, new_disk, new_tree
from .histories import History, appearance

Main = Callable[[Store, Recovered, History], Awaitable[Any]]


def live(place: SimDisk | MemoryDisk, main: Main, history: History | None = None, **changes: Any) -> None:
    """One life of a process with a store, which ends without being told."""

    async def life() -> None:
        host = SimHost(place if isinstance(place, SimDisk) else new_disk(), slowness=0.01)
        changes.update({} if isinstance(place, SimDisk) else {"data_dir": None})
        memory = place if isinstance(place, MemoryDisk) else None
        store = Store(settings(**changes), host, memory)
        recovered = store.open(new_tree)
        try:
            await main(store, recovered, history or History(4))
        finally:
            for worker in host.workers.values():
                worker.abandon()
            store._directories.unlock()

    seeded_run(1, life)


async def append(log: FileLog, history: History, count: int) -> None:
    """So many more, and wait until they are durable."""
    finished = trio.Event()

    def durable(zxid: int) -> None:
        if zxid == history.zxid:
            finished.set()

    log.durable = durable
    for _ in range(count):
        txn = history.step()
        log.append(txn, history.digests[-1])
    await finished.wait()


def same(tree: DataTree, history: History) -> bool:
    return appearance(tree) == appearance(history.tree)


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest) -> SimDisk | MemoryDisk:
    return new_disk() if request.param == "disk" else MemoryDisk()


def test_one_role_after_the_other(place: SimDisk | MemoryDisk) -> None:
    """Each begins a log of its own; a member's own tree catches up with what it logged; a restart sees all."""
    history = History(4)

    async def main(store: Store, recovered: Recovered, history: History) -> None:
        tree, sessions = recovered.tree, recovered.sessions
        for _ in range(3):
            await append(store.start_log(tree.last_zxid or 1 << 32), history, 20)
            await store.stop_log()
            assert store.catch_up(tree, sessions).transactions == 20
            assert same(tree, history)
            assert sessions == history.sessions
        assert len([name for name in store.disk.names(store.logs) if name.startswith("log.")]) == 3

    async def again(store: Store, recovered: Recovered, history: History) -> None:
        assert same(recovered.tree, history)
        assert len(recovered.recent) == 60

    live(place, main, history)
    live(place, again, history)


def test_what_had_only_gathered_is_dropped(place: SimDisk | MemoryDisk) -> None:
    """Nobody was told of it, nobody is told later, and the next role's log begins where the disk ends."""
    told: list[int] = []

    async def main(store: Store, recovered: Recovered, history: History) -> None:
        log = store.start_log(1 << 32)
        await append(log, history, 5)
        count = len(history.txns)
        log.durable = told.append
        for _ in range(5):
            history.step()
            log.append(history.txns[-1], None)
        await store.stop_log()
        found = store.catch_up(recovered.tree, recovered.sessions)
        assert found.transactions == count
        other = History(4)
        other.run(count)
        await append(store.start_log(other.zxid), other, 5)
        await trio.sleep(10)
        await store.stop_log()
        store.catch_up(recovered.tree, recovered.sessions)
        assert same(recovered.tree, other)

    live(place, main)
    assert told == []


def test_what_was_handed_over_is_durable(place: SimDisk | MemoryDisk) -> None:
    """A flush that is under way is waited for, and told to nobody: the member says so when it votes."""
    told: list[int] = []

    async def main(store: Store, recovered: Recovered, history: History) -> None:
        log = store.start_log(1 << 32)
        log.durable = told.append
        for _ in range(5):
            history.step()
            log.append(history.txns[-1], history.digests[-1])
        await trio.sleep(0.001)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.stop_log)
            await trio.testing.wait_all_tasks_blocked()
            log.append(History(4).step(), None)  # by somebody who does not know yet
        store.catch_up(recovered.tree, recovered.sessions)
        assert same(recovered.tree, history)
        assert store.log is None

    live(place, main)
    assert isinstance(place, MemoryDisk) or told == []


def test_a_disk_that_fails_when_the_role_ends() -> None:
    """Nobody knows what is on it: the member must not go on as if it had that history."""
    disk = new_disk()

    async def main(store: Store, recovered: Recovered, history: History) -> None:
        log = store.start_log(1 << 32)
        await append(log, history, 3)
        history.step()
        log.append(history.txns[-1], None)
        disk.fail_at(1, errno.EIO, forever=True)
        await trio.sleep(0)
        with pytest.raises(StorageFailed, match="Input/output error"):
            await store.stop_log()

    live(disk, main)


def test_reading_while_it_is_written(place: SimDisk | MemoryDisk) -> None:
    """A learner gets what is durable, and nothing that is not."""

    async def main(store: Store, recovered: Recovered, history: History) -> None:
        log = store.start_log(1 << 32)
        await append(log, history, 30)
        first = history.txns[0].zxid
        for _ in range(3):
            history.step()
            log.append(history.txns[-1], None)
        found = [entry.txn.zxid for entry in store.transactions_from(first)]
        assert found == [txn.zxid for txn in history.txns[:30]]
        assert store.log_bytes_from(first) > sum(len(e.payload) for e in store.transactions_from(first))
        assert store.snapshot_bytes() > 0
        with pytest.raises(HistoryTooShort):
            store.transactions_from(-1)
        await trio.sleep(1)
        assert len(list(store.transactions_from(first))) == 33

    live(place, main)


def test_trunc_and_snap_between_two_roles(place: SimDisk | MemoryDisk) -> None:
    """What a learner does before it follows: both last, and the log goes on behind them."""
    history = History(4)
    leader = History(8)
    leader.zxid = 5 << 32
    leader.run(30)

    async def main(store: Store, recovered: Recovered, history: History) -> None:
        await append(store.start_log(1 << 32), history, 40)
        await store.stop_log()
        cut = await store.in_worker(lambda: store.truncate(history.txns[24].zxid, new_tree))
        shorter = History(4)
        shorter.run(25)
        assert same(cut.tree, shorter)
        assert store.history_begins == cut.snapshot_zxid
        await append(store.start_log(shorter.zxid), shorter, 3)
        await store.stop_log()
        assert len(list(store.transactions_from(shorter.txns[0].zxid))) == 28
        store.save_snapshot(leader.tree, leader.sessions)
        assert store.history_begins == leader.zxid
        with pytest.raises(HistoryTooShort):
            store.transactions_from(shorter.zxid)
        await append(store.start_log(leader.zxid), leader, 10)
        assert [e.txn.zxid for e in store.transactions_from(leader.txns[30].zxid - 1)] == [
            txn.zxid for txn in leader.txns[30:]
        ]

    async def again(store: Store, recovered: Recovered, history: History) -> None:
        assert same(recovered.tree, leader)
        assert recovered.sessions == leader.sessions
        assert store.history_begins == leader.txns[29].zxid

    live(place, main, history)
    live(place, again, history)


def test_a_snapshot_that_was_not_finished_when_the_role_ended() -> None:
    """Its file is closed and gone; the next role takes others."""
    disk = new_disk()

    async def main(store: Store, recovered: Recovered, history: History) -> None:
        for _ in range(3):
            tree = recovered.tree
            log = store.start_log(tree.last_zxid or 1 << 32)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.run, tree, SessionTable(200, 1))
                await append(log, history, 30)
                while not any(name.startswith("unfinished.") for name in disk.listing(VERSION_2)):
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
            await store.stop_log()
            assert not any(name.startswith("unfinished.") for name in disk.listing(VERSION_2))
            store.catch_up(tree, recovered.sessions)

    live(disk, main, snap_count=10)


class TestInMemory:
    """A member without a directory."""

    def test_it_forgets_what_nobody_needs(self) -> None:
        """However much is written: a snapshot and the log behind it."""
        memory = MemoryDisk()

        async def main(store: Store, recovered: Recovered, history: History) -> None:
            history.quotas = False
            log = store.start_log(1 << 32)
            sessions = SessionTable(200, 1)
            most = 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.run, history.tree, sessions)
                for _ in range(60):
                    await append(log, history, 25)
                    await trio.sleep(0.5)
                    most = max(most, memory.used())
                nursery.cancel_scope.cancel()
            names = memory.names(store.snapshots)
            assert len([name for name in names if name.startswith("snapshot.")]) == 1
            assert len([name for name in names if name.startswith("log.")]) <= 2
            assert most < 40_000

        live(memory, main, snap_count=100)

    def test_its_epochs_are_kept_beside_it(self) -> None:
        """A member that restarts in process has promised what it promised."""
        memory = MemoryDisk()

        async def main(store: Store, recovered: Recovered, history: History) -> None:
            epochs = Epochs(store.disk, store.snapshots)
            epochs.load(recovered.tree.last_zxid)
            epochs.set_accepted(epochs.accepted + 1)
            epochs.set_current(epochs.accepted)

        live(memory, main)
        live(memory, main)
        epochs = Epochs(memory, Store(Config(), Host(), memory).snapshots)
        epochs.load(0)
        assert (epochs.accepted, epochs.current) == (2, 2)

    def test_one_of_its_own(self, caplog: pytest.LogCaptureFixture) -> None:
        """Without a memory that is given it begins with nothing, and touches no disk."""
        caplog.set_level(logging.CRITICAL)
        store = Store(Config(), Host())
        recovered = store.open(new_tree)
        assert recovered.tree.last_zxid == 0
        assert isinstance(store.disk, MemoryDisk)
        store.close()
