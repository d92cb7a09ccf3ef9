"""History that is shared with other members: read for a learner, cut and replaced for a leader, safe in any crash."""

from collections.abc import Callable
from typing import Any

import pytest
from sim.disk import PowerFailure, SimDisk

from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import history as shared
from pyzkserver.storage import snapfile
from pyzkserver.storage.damage import LogDamaged
from pyzkserver.storage.history import CannotTruncate, HistoryTooShort, Logged
from pyzkserver.storage.logfile import HEADER_SIZE, read_entries
from pyzkserver.storage.recovery import Recovered
from pyzkserver.storage.snapshots import snapshot_name
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import ErrorTxn

from .directories import VERSION_2, log_bytes, new_disk, new_tree, put_log, put_snapshot, recovered
from .histories import BEGINNING, History, appearance, apply

LATEST = (1 << 63) - 1


def directory() -> SimDisk:
    disk = new_disk()
    disk.make_directory(VERSION_2)
    return disk


def error(zxid: int) -> Transaction:
    return Transaction(0, 0, zxid, BEGINNING, OpCode.ERROR, ErrorTxn(-101))


def after(history: History, count: int) -> DataTree:
    """The tree as it was ``count`` transactions after the beginning."""
    tree = new_tree()
    for txn in history.txns[:count]:
        apply(txn, tree, {})
    return tree


def written() -> tuple[SimDisk, History]:
    """Sixty transactions: snapshots after 0, 20 and 45 of them; logs of 0–20, 20–35 and 35–60, with padding."""
    history, disk = History(11), directory()
    put_snapshot(disk, history)
    for begin, end in ((0, 20), (20, 35), (35, 60)):
        while len(history.txns) < end:
            history.run(1)
            if len(history.txns) in (20, 45):
                put_snapshot(disk, history)
        path = put_log(disk, history.txns[begin:end])
        disk.put(path, disk.contents(path) + bytes(5000))
    return disk, history


# --- for a learner ------------------------------------------------------------------------------------------


def logged(disk: SimDisk, zxid: int, begins: int = 0, ends: int = LATEST) -> list[Logged]:
    return list(shared.transactions_from(disk, VERSION_2, zxid, begins, ends))


def numbers(found: list[Logged]) -> list[int]:
    return [entry.txn.zxid for entry in found]


class TestReading:
    """What a leader sends from its log."""

    @pytest.mark.parametrize("at", [0, 1, 19, 20, 34, 35, 58, 59])
    def test_from_any_point(self, at: int) -> None:
        """Wherever that is in the files; the first one is what the learner has already."""
        disk, history = written()
        zxids = [txn.zxid for txn in history.txns]
        found = logged(disk, zxids[at], zxids[0] - 1)
        assert numbers(found) == zxids[at:]

    def test_the_payload_is_that_of_the_log(self) -> None:
        """A PROPOSAL carries the very bytes, digest and all."""
        history, disk = History(2), directory()
        history.run(5)
        data = log_bytes(history.txns, history.digests)
        disk.put(VERSION_2 / "log.100000001", data)
        entries = list(read_entries([data]))
        found = logged(disk, entries[0].txn.zxid, entries[0].txn.zxid - 1)
        assert [entry.payload for entry in found] == [entry.payload for entry in entries]
        assert [entry.digest for entry in found] == [(2, digest) for digest in history.digests]

    def test_between_two_epochs(self) -> None:
        """A learner whose last one was never decided: what is before it is what both have."""
        disk = directory()
        put_log(disk, [error(1 << 32 | number) for number in range(1, 6)])
        put_log(disk, [error(2 << 32 | number) for number in range(1, 4)])
        assert numbers(logged(disk, 1 << 32 | 9, 1 << 32)) == [1 << 32 | 5, *(2 << 32 | n for n in (1, 2, 3))]
        assert numbers(logged(disk, 2 << 32, 1 << 32)) == [1 << 32 | 5, *(2 << 32 | n for n in (1, 2, 3))]
        assert numbers(logged(disk, 9 << 32, 1 << 32)) == [2 << 32 | 3]

    def test_only_what_is_durable(self) -> None:
        """The log is being written: behind its last durable entry may stand anything, half an entry too."""
        disk = directory()
        txns = [error(1 << 32 | number) for number in range(1, 9)]
        ends = [entry.end for entry in read_entries([log_bytes(txns)])]
        path = put_log(disk, txns)
        disk.put(path, disk.contents(path)[: ends[5]] + b"\xff" * 40)
        assert numbers(logged(disk, 1 << 32 | 1, 1 << 32, txns[5].zxid)) == [txn.zxid for txn in txns[:6]]
        assert numbers(logged(disk, 1 << 32 | 1, 1 << 32, txns[2].zxid)) == [txn.zxid for txn in txns[:3]]
        with pytest.raises(Exception, match="entry"):
            logged(disk, 1 << 32 | 1, 1 << 32)

    def test_a_file_that_was_only_begun(self) -> None:
        """Nothing in it is durable yet, not even its header."""
        disk = directory()
        put_log(disk, [error(1 << 32 | number) for number in (1, 2)])
        disk.put(VERSION_2 / "log.100000003", b"ZK")
        assert numbers(logged(disk, 1 << 32, 1 << 32, 1 << 32 | 2)) == [1 << 32 | 1, 1 << 32 | 2]

    def test_too_long_ago(self) -> None:
        """Such a learner needs a snapshot.  That is known before anything is sent."""
        disk, history = written()
        first = history.txns[0].zxid
        with pytest.raises(HistoryTooShort, match=f"do not reach back to 0x{first - 2:x}"):
            shared.transactions_from(disk, VERSION_2, first - 2, first - 1, LATEST)
        disk.remove(VERSION_2 / f"log.{first:x}")
        with pytest.raises(HistoryTooShort):
            shared.transactions_from(disk, VERSION_2, first, first - 1, LATEST)
        assert numbers(logged(disk, history.txns[20].zxid, first - 1))[0] == history.txns[20].zxid

    def test_what_is_older_than_a_leaders_snapshot_is_not_sent(self) -> None:
        """It may never have been decided."""
        disk, history = written()
        zxids = [txn.zxid for txn in history.txns]
        assert numbers(logged(disk, zxids[44], begins=zxids[44])) == zxids[45:]
        assert numbers(logged(disk, zxids[50], begins=zxids[44])) == zxids[50:]
        with pytest.raises(HistoryTooShort):
            logged(disk, zxids[43], begins=zxids[44])

    def test_a_gap(self) -> None:
        """A learner must not get what does not follow."""
        disk = directory()
        put_log(disk, [error(1 << 32 | number) for number in (1, 2)])
        put_log(disk, [error(1 << 32 | number) for number in (4, 5)])
        with pytest.raises(LogDamaged, match="0x100000004 comes after 0x100000002"):
            logged(disk, 1 << 32, 1 << 32)

    @pytest.mark.parametrize("begun", [1, 2], ids=["the same epoch", "the next one"])
    def test_an_older_log_that_is_torn(self, begun: int) -> None:
        """Apache's server leaves it so when it was killed; recovery reads on behind it, and so does this."""
        disk = directory()
        path = put_log(disk, [error(1 << 32 | number) for number in (1, 2, 3)])
        data = disk.contents(path)
        disk.put(path, data[:-5] + bytes(300))
        follows = [1 << 32 | 3, 1 << 32 | 4] if begun == 1 else [2 << 32 | 1, 2 << 32 | 2]
        put_log(disk, [error(zxid) for zxid in follows])
        assert numbers(logged(disk, 1 << 32, 1 << 32)) == [1 << 32 | 1, 1 << 32 | 2, *follows]

    def test_no_logs(self) -> None:
        """A member that has a snapshot and nothing else can still say so to one at the same point."""
        assert logged(directory(), 5, begins=5) == []


# --- for a leader -------------------------------------------------------------------------------------------


def truncate(disk: SimDisk, zxid: int) -> Recovered:
    return shared.truncate(disk, VERSION_2, VERSION_2, new_tree, zxid, keep=10)


class TestTruncating:
    """TRUNC: what a leader does not have is taken back."""

    @pytest.mark.parametrize("count", range(1, 61))
    def test_to_any_point(self, count: int) -> None:
        """In any file, before and after snapshots: tree and sessions are those of then, now and after a restart."""
        disk, history = written()
        zxid = history.txns[count - 1].zxid
        found = truncate(disk, zxid)
        wanted = appearance(after(history, count))
        assert appearance(found.tree) == wanted
        assert [entry.txn.zxid for entry in found.recent] == [
            txn.zxid for txn in history.txns[:count] if txn.zxid > (found.snapshot_zxid or 0)
        ][-10:]
        again = recovered(disk)
        assert (appearance(again.tree), again.sessions) == (wanted, found.sessions)
        assert again.tree.last_zxid == zxid
        names = [name for name in disk.listing(VERSION_2) if int(name.partition(".")[2], 16) > zxid]
        assert names == []

    def test_to_the_beginning(self) -> None:
        """A leader with nothing at all, in a first epoch: everything goes."""
        disk, history = written()
        assert truncate(disk, history.txns[0].zxid - 1).tree.last_zxid == history.txns[0].zxid - 1
        assert recovered(disk).tree.last_zxid == 0
        assert len(disk.listing(VERSION_2)) == 1

    def test_to_the_beginning_of_an_epoch(self) -> None:
        """Nothing is logged under its zxid, yet it is a point of the history."""
        disk = directory()
        history = History(1)
        put_snapshot(disk, history)
        put_log(disk, [error(1 << 32 | number) for number in range(1, 6)])
        put_log(disk, [error(2 << 32 | number) for number in range(1, 4)])
        assert truncate(disk, 2 << 32).tree.last_zxid == 2 << 32
        assert recovered(disk).tree.last_zxid == 1 << 32 | 5

    def test_a_snapshot_that_was_taken_meanwhile(self) -> None:
        """It is named by a zxid before the cut, and holds changes from behind it: an older one must do."""
        history, disk = History(11), directory()
        put_snapshot(disk, history)
        history.run(20)
        path = VERSION_2 / snapshot_name(history.zxid, "")
        parts = []
        for part in snapfile.write(history.tree, history.sessions, chunk_bytes=100):
            parts.append(part)
            history.step()
        disk.put(path, b"".join(parts))
        assert len(history.txns) > 25
        put_log(disk, history.txns)
        found = truncate(disk, history.txns[22].zxid)
        assert appearance(found.tree) == appearance(after(history, 23))
        assert path.name not in disk.listing(VERSION_2)
        assert appearance(recovered(disk).tree) == appearance(after(history, 23))

    def test_to_the_very_snapshot(self) -> None:
        """It stays, and is all that is needed where the logs from before it were purged."""
        history, disk = History(11), directory()
        history.run(20)
        path = put_snapshot(disk, history)
        history.run(20)
        put_log(disk, history.txns[20:])
        found = truncate(disk, history.txns[19].zxid)
        assert appearance(found.tree) == appearance(after(history, 20))
        assert path.name in disk.listing(VERSION_2)
        assert appearance(recovered(disk).tree) == appearance(after(history, 20))

    def test_to_where_it_never_was(self) -> None:
        """Nothing is changed, and the leader must send all."""
        disk = directory()
        put_snapshot(disk, History(1))
        put_log(disk, [error(1 << 32 | number) for number in range(1, 6)])
        put_log(disk, [error(2 << 32 | number) for number in range(1, 4)])
        before = {name: disk.contents(VERSION_2 / name) for name in disk.listing(VERSION_2)}
        with pytest.raises(CannotTruncate, match="after 0x100000007: up to there it ends with 0x100000005"):
            truncate(disk, 1 << 32 | 7)
        assert {name: disk.contents(VERSION_2 / name) for name in disk.listing(VERSION_2)} == before

    def test_the_log_can_be_gone_on_with(self) -> None:
        """What comes instead has the zxids of what was taken back, or those of a later epoch."""
        disk, history = written()
        at = history.txns[39].zxid
        truncate(disk, at)
        put_log(disk, [error(at + 1), error(at + 2)])
        assert recovered(disk).tree.last_zxid == at + 2

    @pytest.mark.parametrize("count", [10, 20, 21, 40, 45, 50, 60])
    def test_a_power_failure_at_every_call(self, count: int) -> None:
        """It starts again with some beginning of its history that is no shorter, and can be cut once more."""
        _, history = written()
        zxid = history.txns[count - 1].zxid
        crash_at_every_call(
            lambda: written()[0],
            lambda disk: truncate(disk, zxid),
            lambda disk: check_beginning(disk, history, count),
            lambda disk: appearance(recovered(disk).tree) == appearance(after(history, count)),
        )


def check_beginning(disk: SimDisk, history: History, count: int) -> None:
    found = recovered(disk).tree
    length = found.last_zxid - history.txns[0].zxid + 1
    assert length >= count
    assert appearance(found) == appearance(after(history, length))


def crash_at_every_call(
    before: Callable[[], SimDisk],
    act: Callable[[SimDisk], Any],
    check: Callable[[SimDisk], None],
    is_done: Callable[[SimDisk], bool],
) -> None:
    """Let the power fail in each call of ``act``; check what is left; then ``act`` again and see that it is done."""
    for call in range(1, 500):
        finished = False
        for seed in range(4):
            disk = before()
            disk.power_off_at(call)
            try:
                act(disk)
                finished = True
            except PowerFailure:
                pass
            left = disk.crash(seed)
            check(left)
            if finished:
                assert is_done(left), "it was not durable on return"
            act(left)
            assert is_done(left)
        if finished:
            return
    raise AssertionError("it never ends")


def new_leaders() -> History:
    """A leader's tree that has nothing to do with what is written."""
    other = History(77)
    other.zxid = 3 << 32
    other.run(25)
    return other


class TestReplacing:
    """SNAP: a leader's tree takes the place of everything."""

    def replace(self, disk: SimDisk, leader: History) -> None:
        shared.replace(disk, VERSION_2, VERSION_2, leader.tree, leader.sessions, "")

    def test_it_is_what_counts(self) -> None:
        """After a restart too, and whatever the logs held before."""
        disk, _ = written()
        leader = new_leaders()
        self.replace(disk, leader)
        found = recovered(disk)
        assert appearance(found.tree) == appearance(leader.tree)
        assert found.sessions == leader.sessions

    def test_the_log_goes_on_behind_it(self) -> None:
        """Between the old logs and it there is a gap, which is no damage."""
        disk, _ = written()
        leader = new_leaders()
        self.replace(disk, leader)
        leader.run(10)
        put_log(disk, leader.txns[25:])
        assert appearance(recovered(disk).tree) == appearance(leader.tree)
        leader.run(5)
        put_snapshot(disk, leader)
        put_log(disk, leader.txns[35:])
        assert appearance(recovered(disk).tree) == appearance(leader.tree)

    @pytest.mark.parametrize("count", [0, 10, 20, 30, 45, 50])
    def test_an_older_one(self, count: int) -> None:
        """A leader that has less: later logs and snapshots go, or they would be taken for its history."""
        disk, history = written()
        leader = History(11)
        leader.run(count)
        self.replace(disk, leader)
        assert appearance(recovered(disk).tree) == appearance(leader.tree)
        if count:
            put_log(disk, [error(leader.zxid + 1)])
            assert recovered(disk).tree.last_zxid == leader.zxid + 1
        assert history.zxid > leader.zxid + 1

    def test_it_makes_up_for_a_damaged_log(self) -> None:
        """What cannot be read is older than the leader's tree."""
        disk, history = written()
        leader = new_leaders()
        path = VERSION_2 / f"log.{history.txns[35].zxid:x}"
        data = bytearray(disk.contents(path))
        data[HEADER_SIZE + 300] ^= 1
        disk.put(path, bytes(data))
        self.replace(disk, leader)
        assert appearance(recovered(disk).tree) == appearance(leader.tree)

    @pytest.mark.parametrize("count", [10, 30, None])
    def test_a_power_failure_at_every_call(self, count: int | None) -> None:
        """Either the old history is there, or the leader's tree, or that and the old log behind it."""
        _, history = written()
        if count is None:
            leader = new_leaders()
        else:
            leader = History(11)
            leader.run(count)
        done = appearance(leader.tree)

        def check(disk: SimDisk) -> None:
            found = recovered(disk).tree
            if found.last_zxid > history.zxid:
                assert appearance(found) == done
            else:
                check_beginning(disk, history, count or 60)

        crash_at_every_call(
            lambda: written()[0],
            lambda disk: self.replace(disk, leader),
            check,
            lambda disk: appearance(recovered(disk).tree) == done,
        )
