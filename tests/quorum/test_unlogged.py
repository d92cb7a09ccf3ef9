"""Observers that keep no log (syncEnabled=false): they serve from memory, and claim no more than their disk has."""

import pytest
import trio

from pyzkserver.quorum.ends import LeaderLost
from pyzkserver.quorum.history import History
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.recovery import recover
from pyzkserver.storage.txnlog import Unlogged
from pyzkserver.wire.election import ServerState

from .stage import Client, Stage, run
from .test_reconfig import RECONFIGURABLE, line, reconfigure

OBSERVER = 4


def written(stage: Stage, sid: int = OBSERVER) -> int:
    """The last zxid on a member's disk, as somebody would find it who starts from it now."""
    store = stage.all[sid].local.history.store
    return recover(store.disk, store.snapshots, store.logs, DataTree, trust_empty=True).tree.last_zxid


async def begin(stage: Stage) -> Client:
    """All are there, and ten nodes."""
    await stage.start()
    leader = await stage.formed()
    client = await Client.new(leader.replica)
    for number in range(10):
        await client.create(f"/n{number}")
    await stage.until_same()
    return client


def test_it_serves_from_memory_and_is_brought_up_after_a_crash():
    """Nothing is written by it, before or after; voters of the same configuration log as ever."""

    async def main():
        async with Stage.opened(3, 1, sync_enabled=False) as stage:
            client = await begin(stage)
            observer = stage.all[OBSERVER]
            own = await Client.new(observer.replica)
            await own.create("/own")
            await own.sync()
            assert isinstance(observer.replica.log, Unlogged)
            assert not observer.replica.log.immediate  # a client's next requests wait for its writes
            assert not [
                path for path in observer.disk.names(observer.local.history.store.logs) if "log." in path
            ]
            await stage.until_same()
            await stage.kill(OBSERVER)
            assert written(stage) == 0
            await client.create("/later")
            await stage.start(OBSERVER)
            await stage.formed()
            await stage.until_same()
            assert {"/own", "/later"} <= set(observer.replica.tree.nodes)
            for sid in (1, 2, 3):
                assert stage.all[sid].local.history.store.log is not None

    run(main)


def test_it_keeps_its_memory_from_one_leader_to_the_next():
    """Before it says that it holds the next one's history that is on its disk, for its word may count by then."""

    async def main():
        async with Stage.opened(3, 1, sync_enabled=False) as stage:
            await begin(stage)
            observer = stage.all[OBSERVER]
            tree, at = observer.replica.tree, observer.replica.tree.last_zxid
            assert written(stage) == 0
            await stage.kill((await stage.formed()).sid)
            successor = await stage.formed()
            client = await Client.new(successor.replica)
            await client.create("/after")
            await stage.until_same()
            assert observer.replica.tree is tree
            assert written(stage) == at
            assert observer.local.history.epochs.current == 2
            await stage.kill(OBSERVER)
            await stage.start(OBSERVER)
            await stage.formed()
            await stage.until_same()

    run(main)


def test_a_tree_from_a_leader_is_written():
    """A SNAP is on the disk before NEWLEADER is acknowledged, as in Apache's; then its epoch is current."""

    async def main():
        async with Stage.opened(3, 1, sync_enabled=False, force_snapshot_sync=True) as stage:
            client = await begin(stage)
            observer = stage.all[OBSERVER]
            await stage.kill(OBSERVER)
            await stage.start(OBSERVER)
            await stage.formed()
            at = observer.replica.tree.last_zxid
            await client.create("/more")
            await stage.until_same()
            assert isinstance(observer.replica.log, Unlogged)
            assert written(stage) == at
            assert observer.local.history.epochs.current == 1

    run(main)


def test_it_writes_what_it_has_before_it_votes():
    """Reconfigured to a voter it puts its tree on the disk, logs from there on, and recovers all of it."""

    async def main():
        async with Stage.opened(3, 1, sync_enabled=False, **RECONFIGURABLE) as stage:
            client = await begin(stage)
            observer = stage.all[OBSERVER]
            assert written(stage) == 0
            at = observer.replica.tree.last_zxid
            assert (await reconfigure(client, line(OBSERVER))).err == 0
            await stage.until(lambda: observer.state is ServerState.FOLLOWING)
            await stage.formed()
            assert written(stage) > at
            await client.create("/logged")
            await stage.until_same()
            at = observer.replica.tree.last_zxid
            assert observer.local.history.store.log is not None
            await stage.kill(OBSERVER)
            assert written(stage) == at
            await stage.start(OBSERVER)
            await stage.formed()
            await stage.until_same()

    run(main)


def test_a_voter_that_comes_to_observe_goes_on_without_a_log_and_back():
    """Log, gap, snapshot, log: what is on the disk can be read at every step."""

    async def main():
        async with Stage.opened(3, sync_enabled=False, **RECONFIGURABLE) as stage:
            client = await begin(stage)
            leader = await stage.formed()
            sid = next(each for each in (1, 2, 3) if each != leader.sid)
            member = stage.all[sid]
            assert (await reconfigure(client, line(sid, "observer"))).err == 0
            await stage.until(lambda: member.state is ServerState.OBSERVING)
            await stage.formed()
            at = written(stage, sid)
            await client.create("/unlogged")
            await stage.until_same()
            assert written(stage, sid) == at < member.replica.tree.last_zxid
            assert (await reconfigure(client, line(sid))).err == 0
            await stage.until(lambda: member.state is ServerState.FOLLOWING)
            await stage.formed()
            await client.create("/logged")
            await stage.until_same()
            at = member.replica.tree.last_zxid
            await stage.kill(sid)
            assert written(stage, sid) == at
            # A learner that asks for what lies in the gap is not sent a log with a hole.
            member.open()
            history = member.local.history
            assert history.from_disk(1 << 32 | 3) is None
            history.store.close()

    run(main)


def test_a_cut_leaves_what_the_disk_has():
    """TRUNC to a point that only memory had: the disk's history is what it connects with next."""

    async def main():
        async with Stage.opened(3, sync_enabled=False) as stage:
            client = await begin(stage)
            sid = 1 if client.replica is not stage.all[1].replica else 2
            await stage.kill(sid)
            stage.all[sid].open()
            history: History = stage.all[sid].local.history
            ends = history.last_zxid
            log = history.keep_no_log()
            assert isinstance(log, Unlogged)
            history.tree.last_zxid = ends + 5
            await history.truncate(ends + 2)
            assert history.last_zxid == ends
            with pytest.raises(LeaderLost):
                await history.truncate(ends + 2)
            history.store.close()
            await trio.lowlevel.checkpoint()

    run(main)
