"""From the files of a data directory to a state: what is replayed, what is cut, and what is refused, and how."""

import logging
from contextlib import suppress
from zlib import adler32

import pytest
from sim.disk import SECTOR, PowerFailure, SimDisk

from pyzkserver.state.acl import Acl
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import snapfile
from pyzkserver.storage.logfile import (
    HEADER_SIZE,
    encode_transaction,
    file_header,
    frame_entry,
    read_entries,
)
from pyzkserver.storage.recovery import DataDirectoryError, Recovered, recover
from pyzkserver.storage.snaplayout import DBID, FILE_HEADER, MAGIC, SNAPSHOT_VERSION, Ending, encode_ending
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateTxn, SetACLTxn

from .directories import (
    OTHER_DIR,
    VERSION_2,
    error_txn,
    log_bytes,
    new_disk,
    new_tree,
    nothing,
    put_log,
    put_snapshot,
    recovered,
    serve,
)
from .histories import BEGINNING, History, appearance, apply

LOGGER = "pyzkserver.storage"


def directory() -> SimDisk:
    disk = new_disk()
    disk.make_directory(VERSION_2)
    return disk


def after(history: History, count: int) -> History:
    """The same history, ``count`` transactions after it began."""
    again = History(0)
    for txn in history.txns[:count]:
        apply(txn, again.tree, again.sessions)
    if count == 0:
        again.tree.last_zxid = 0
    return again


def same(found: Recovered, history: History) -> bool:
    return appearance(found.tree) == appearance(history.tree) and found.sessions == history.sessions


def refusal(disk: SimDisk, **options: bool) -> str:
    with pytest.raises(DataDirectoryError) as caught:
        recovered(disk, **options)
    return str(caught.value)


class TestReplay:
    """A snapshot, and the logs from there on."""

    @pytest.mark.parametrize(
        "logs", [[(0, 60)], [(0, 20), (20, 21), (21, 60)], [(30, 45), (45, 60)], [(31, 60)]]
    )
    def test_a_snapshot_and_logs(self, logs: list[tuple[int, int]]) -> None:
        """Whichever way the transactions are spread over files: those after the snapshot are applied once."""
        history, disk = History(3), directory()
        history.run(31)
        put_snapshot(disk, history)
        history.run(29)
        for begin, end in logs:
            put_log(disk, history.txns[begin:end])
        found = recovered(disk)
        assert same(found, history)
        assert (found.transactions, found.mismatches) == (29, 0)

    @pytest.mark.parametrize(
        "logs",
        [[(0, 40), (30, 60)], [(0, 20), (10, 40), (40, 60)], [(0, 50), (20, 60)], [(0, 60), (20, 40)]],
    )
    def test_logs_that_overlap(self, logs: list[tuple[int, int]]) -> None:
        """Apache's learners log once more what they get again: each transaction is applied once."""
        history, disk = History(3), directory()
        put_snapshot(disk, history)
        history.run(60)
        for begin, end in logs:
            put_log(disk, history.txns[begin:end])
        found = recovered(disk)
        assert same(found, history)
        assert (found.transactions, found.mismatches) == (60, 0)

    def test_a_fuzzy_snapshot(self) -> None:
        """One that was taken while changes went on is made whole by the log."""
        history, disk = History(8), directory()
        history.run(100)
        begun = history.tree.last_zxid
        pieces = []
        for piece in snapfile.write(history.tree, history.sessions, chunk_bytes=300):
            pieces.append(piece)
            history.run(3)
        disk.put(VERSION_2 / f"snapshot.{begun:x}", b"".join(pieces))
        put_log(disk, history.txns)
        assert same(recovered(disk), history)

    @pytest.mark.parametrize(("wrong", "told"), [(None, 0), (0, 0), (1, 1)])
    def test_digests_behind_a_fuzzy_snapshot(self, wrong: int | None, told: int) -> None:
        """They are compared behind the snapshot's: before, they cannot fit, and at that one Apache's need not."""
        history, disk = History(8), directory()
        digests: list[int] = []

        def go_on(count: int) -> None:
            for _ in range(count):
                history.step()
                digests.append(history.tree.digest.value())

        go_on(100)
        begun, pieces = history.tree.last_zxid, list[bytes]()
        for piece in snapfile.write(history.tree, history.sessions, chunk_bytes=300):
            pieces.append(piece)
            go_on(3)
        taken = len(digests) - 4  # the last piece tells the digest before it is given
        go_on(5)
        assert taken > 110
        disk.put(VERSION_2 / f"snapshot.{begun:x}", b"".join(pieces))
        path = put_log(disk, history.txns)
        if wrong is not None:
            digests[taken + wrong] ^= 1
        disk.put(path, log_bytes(history.txns, digests))
        found = recovered(disk)
        assert same(found, history)
        assert found.mismatches == told
        assert found.complete_from == history.txns[taken].zxid

    def test_logs_that_the_snapshot_makes_needless_are_not_read(self) -> None:
        """They may be damaged, or partly gone: nothing depends on them."""
        history, disk = History(3), directory()
        history.run(40)
        disk.put(VERSION_2 / "log.1", b"rubbish")
        put_snapshot(disk, history)
        put_log(disk, history.txns[20:])
        assert same(recovered(disk), history)

    def test_a_new_epoch_counts_anew(self) -> None:
        """The first transaction of an epoch has the number 1 (or 0), whatever the last one before it had."""
        disk = directory()
        put_snapshot(disk, after(History(0), 0))
        txns = [error_txn(zxid) for zxid in (1, 2, 0x1_0000_0001, 0x1_0000_0002, 0x3_0000_0000)]
        put_log(disk, txns[:3])
        put_log(disk, txns[3:])
        assert recovered(disk).tree.last_zxid == 0x3_0000_0000
        disk.put(VERSION_2 / "log.100000001", log_bytes([error_txn(0x3_0000_0002)]))
        put_log(disk, [error_txn(0x3_0000_0002)])
        assert "missing" in refusal(disk)

    def test_a_digest_that_differs_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """Once, with the file and the zxid; and the server goes on, as Apache's does."""
        history, disk = History(1), directory()
        history.tree.last_zxid = history.zxid
        put_snapshot(disk, history)
        digests = []
        for _ in range(9):
            history.step()
            digests.append(history.tree.digest.value())
        digests[5] ^= 1
        digests[7] ^= 1
        path = put_log(disk, history.txns)
        disk.put(path, log_bytes(history.txns, digests))
        caplog.set_level(logging.ERROR, LOGGER)
        found = recovered(disk)
        assert found.mismatches == 2
        assert [f"{path}: after zxid 0x{history.txns[5].zxid:x}" in text for text in caplog.messages] == [
            True
        ]
        assert same(found, history)

    @pytest.mark.parametrize("version", [1, 3])
    def test_a_digest_of_another_kind_is_not_compared(self, version: int) -> None:
        """Other versions count otherwise; a server with digest.enabled=false has none."""
        history, disk = History(1), directory()
        history.tree.last_zxid = history.zxid
        put_snapshot(disk, history)
        history.step()
        path = put_log(disk, history.txns)
        disk.put(path, log_bytes(history.txns, [77]))
        assert recovered(disk).mismatches == 1
        assert recover(disk, VERSION_2, VERSION_2, lambda: DataTree(digest_enabled=False)).mismatches == 0
        payload = encode_transaction(history.txns[0], 77)
        other = payload[:-12] + version.to_bytes(4) + payload[-8:]
        disk.put(path, file_header() + frame_entry(other))
        assert recovered(disk).mismatches == 0


class TestTornTail:
    """What was being written when the end came."""

    def test_a_log_cut_at_every_byte(self, caplog: pytest.LogCaptureFixture) -> None:
        """Of its last four entries: all whole ones are there, the rest is cut off and said, and then is gone."""
        history = History(5)
        history.run(12)
        whole = log_bytes(history.txns)
        ends = [entry.end for entry in read_entries([whole])]
        for cut in range(ends[-5], len(whole)):
            disk = directory()
            put_snapshot(disk, after(history, 0))
            path = put_log(disk, history.txns)
            disk.put(path, whole[:cut])
            count = sum(end <= cut for end in ends)
            caplog.clear()
            assert same(recovered(disk), after(history, count)), cut
            boundary = max(end for end in ends if end <= cut)
            torn = any(whole[boundary:cut])  # zeros alone are padding
            assert disk.contents(path) == whole[: boundary if torn else cut]
            told = [text for text in caplog.messages if "cut off" in text]
            assert len(told) == torn
            assert all(str(path) in text and f"at byte {boundary}" in text for text in told)
            caplog.clear()
            assert same(recovered(disk), after(history, count)), cut
            assert caplog.messages == []

    @pytest.mark.parametrize("left", range(HEADER_SIZE))
    def test_a_header_that_was_not_written_whole(self, left: int) -> None:
        """Such a file is nothing: it is removed, and the one before it is the newest."""
        history, disk = History(2), directory()
        history.run(5)
        put_snapshot(disk, after(history, 0))
        put_log(disk, history.txns)
        path = VERSION_2 / f"log.{history.zxid + 1:x}"
        disk.put(path, log_bytes([])[:left])
        assert same(recovered(disk), history)
        assert path.name not in disk.listing(VERSION_2)

    @pytest.mark.parametrize("padding", [b"", bytes(5000)])
    def test_a_newest_log_without_entries(self, padding: bytes) -> None:
        """It was begun, and then the end came."""
        history, disk = History(2), directory()
        history.run(5)
        put_snapshot(disk, after(history, 0))
        put_log(disk, history.txns)
        disk.put(VERSION_2 / f"log.{history.zxid + 1:x}", log_bytes([]) + padding)
        assert same(recovered(disk), history)

    @pytest.mark.parametrize("name", [3, 5])
    def test_a_log_without_entries_among_what_is_there(self, name: int) -> None:
        """A copy perhaps that came to nothing: what its name tells of stands in another one."""
        history, disk = History(2), directory()
        history.run(5)
        put_snapshot(disk, after(history, 0))
        put_log(disk, history.txns)
        disk.put(VERSION_2 / f"log.{history.txns[name - 1].zxid:x}", log_bytes([]))
        assert same(recovered(disk), history)

    def test_an_older_log_may_be_torn_where_the_next_one_goes_on(self) -> None:
        """Servers that do not cut leave such logs.  What was torn was written again."""
        history, disk = History(2), directory()
        history.run(12)
        put_snapshot(disk, after(history, 0))
        path = put_log(disk, history.txns[:6])
        disk.put(path, disk.contents(path) + log_bytes(history.txns[6:7])[HEADER_SIZE:-3])
        put_log(disk, history.txns[6:])
        assert same(recovered(disk), history)

    def test_the_cut_is_durable(self) -> None:
        """A power failure right after it brings nothing back: the next log would not fit behind it."""
        history = History(2)
        history.run(5)
        for seed in range(20):
            disk = directory()
            put_snapshot(disk, after(history, 0))
            path = put_log(disk, history.txns)
            disk.put(path, disk.contents(path)[:-3])
            recovered(disk)
            crashed = disk.crash(seed)
            assert crashed.contents(path) == log_bytes(history.txns[:4])
            assert same(recovered(crashed), after(history, 4))


class TestDamage:
    """What cannot be explained by a crash is refused, and the message says where it is."""

    def test_any_byte_of_an_entry_in_the_middle(self) -> None:
        """Nothing is skipped: the message names the file and where the entry begins."""
        history = History(5)
        history.run(9)
        whole = log_bytes(history.txns)
        ends = [entry.end for entry in read_entries([whole])]
        disk = directory()
        put_snapshot(disk, after(history, 0))
        path = put_log(disk, history.txns)
        for at in range(ends[3], ends[4]):
            damaged = bytearray(whole)
            damaged[at] ^= 0x40
            disk.put(path, bytes(damaged))
            message = refusal(disk)
            assert message.startswith(f"{path}: damaged at byte {ends[3]}: "), message
            assert disk.contents(path) == damaged

    def test_sectors_that_never_got_to_the_disk(self) -> None:
        """A hole of zeros before whole entries: of one unsynced group, or of lost data; nobody can tell."""
        history = History(5)
        history.run(30)
        whole = bytearray(log_bytes(history.txns))
        whole[2 * SECTOR : 3 * SECTOR] = bytes(SECTOR)
        disk = directory()
        put_snapshot(disk, after(history, 0))
        path = put_log(disk, history.txns)
        disk.put(path, bytes(whole))
        assert refusal(disk).startswith(f"{path}: damaged at byte ")

    def test_a_file_that_is_no_log(self) -> None:
        """Whatever is called log.1 and is not one is not passed over."""
        disk = directory()
        put_snapshot(disk, after(History(0), 0))
        disk.put(VERSION_2 / "log.1", b"something else entirely")
        message = refusal(disk)
        assert message.startswith(f"{VERSION_2}/log.1: damaged at byte 0: ")
        assert message.endswith("move it away if it is not of this server")

    def test_a_log_of_a_later_version(self) -> None:
        """The version is told.  Nothing is said of what stands in it: nobody here can know."""
        history, disk = History(2), directory()
        history.run(3)
        put_snapshot(disk, after(history, 0))
        path = put_log(disk, history.txns)
        disk.put(path, disk.contents(path).replace((2).to_bytes(4), (3).to_bytes(4), 1))
        message = refusal(disk)
        assert message.startswith(
            f"{path}: damaged at byte 4: a log of version 3, not 2. Nothing of it can be read"
        )

    def test_damage_names_the_way_out(self) -> None:
        """Somebody who has no backup is told the words."""
        history, disk = History(2), directory()
        history.run(3)
        put_snapshot(disk, after(history, 0))
        path = put_log(disk, history.txns)
        whole = disk.contents(path)
        disk.put(path, whole[:HEADER_SIZE] + b"\xff" + whole[HEADER_SIZE + 1 :])
        assert refusal(disk).endswith(f"(pyzkserver log --repair --cut-at-damage {path})")

    def test_a_gap_between_two_logs(self) -> None:
        """A log in the middle is missing: the message names the one behind the gap, and both zxids."""
        history, disk = History(4), directory()
        history.run(15)
        put_snapshot(disk, after(history, 0))
        put_log(disk, history.txns[:5])
        path = put_log(disk, history.txns[10:])
        first, last = history.txns[4].zxid, history.txns[10].zxid
        assert refusal(disk).startswith(f"{path}: zxid 0x{last:x} comes after 0x{first:x}: ")

    def test_the_log_right_behind_the_snapshot_is_missing(self) -> None:
        """Then the first transaction that there is does not follow the snapshot."""
        history, disk = History(4), directory()
        history.run(5)
        put_snapshot(disk, history)
        history.run(10)
        put_log(disk, history.txns[8:])
        assert f"comes after 0x{history.txns[4].zxid:x}" in refusal(disk)

    @pytest.mark.parametrize("content", [b"", log_bytes([])], ids=["empty file", "only a header"])
    @pytest.mark.parametrize("older", [0, 4])
    def test_a_gap_before_a_log_without_entries(self, content: bytes, older: int) -> None:
        """Its name tells that there was something, which must not be forgotten in silence."""
        history, disk = History(4), directory()
        history.run(10)
        put_snapshot(disk, after(history, 0))
        if older:
            put_log(disk, history.txns[:older])
        disk.put(VERSION_2 / f"log.{history.zxid + 1:x}", content)
        for _ in range(2):  # the second start must not find what made the first one refuse gone
            assert "missing between" in refusal(disk)

    @pytest.mark.parametrize("name", ["log", "snapshot"])
    def test_a_disk_that_cannot_read(self, name: str) -> None:
        """The file that cannot be read is named, and not passed over."""
        history, disk = History(4), directory()
        history.run(3)
        put_snapshot(disk, after(history, 0))
        path = put_log(disk, history.txns)
        which = path if name == "log" else VERSION_2 / "snapshot.0"
        whole = serve(disk.kill(), nothing).host.disk.journal
        disk.fail_at(whole.index(f"open to read {which.name}") + 2, 5)
        with pytest.raises(DataDirectoryError, match=f"{which}: cannot be read: Input/output error"):
            serve(disk, nothing)


class TestSnapshots:
    """Which snapshot is taken, and what if there is none."""

    @pytest.mark.parametrize("cut", [0, 10, 200, -1])
    def test_a_torn_newest_snapshot(self, cut: int, caplog: pytest.LogCaptureFixture) -> None:
        """An older one and the logs lead to the same; it is said which one was not used."""
        history, disk = History(6), directory()
        history.run(10)
        put_snapshot(disk, history)
        history.run(10)
        path = put_snapshot(disk, history)
        disk.put(path, disk.contents(path)[:cut])
        history.run(10)
        put_log(disk, history.txns)
        found = recovered(disk)
        assert same(found, history)
        assert found.snapshot_zxid == history.txns[9].zxid
        assert any(f"{path} is not used" in text for text in caplog.messages)

    def test_no_snapshot_can_be_read(self) -> None:
        """Then the logs alone would be taken for all there is: refused."""
        disk = directory()
        disk.put(VERSION_2 / "snapshot.5", b"ZKSN")
        disk.put(VERSION_2 / "snapshot.7", b"")
        assert f"none of the 2 snapshots in {VERSION_2} can be read" in refusal(disk)

    def test_logs_without_a_snapshot(self) -> None:
        """Something is missing; only who says so may start from the logs alone (ZOOKEEPER-3056)."""
        disk, reference = directory(), after(History(0), 0)
        txns = [create_txn(zxid) for zxid in range(1, 6)]
        for txn in txns:
            apply(txn, reference.tree, reference.sessions)
        put_log(disk, txns)
        message = refusal(disk)
        assert "no snapshot" in message
        assert "snapshot.trust.empty=true" in message
        assert same(recovered(disk, trust_empty=True), reference)

    @pytest.mark.parametrize("logs", [True, False])
    def test_a_disk_that_is_not_mounted(self, logs: bool, caplog: pytest.LogCaptureFixture) -> None:
        """A dataLogDir without logs beside a snapshot: it may be right, so it is told and not refused."""
        history, disk = History(4), directory()
        disk.make_directory(OTHER_DIR)
        history.run(5)
        put_snapshot(disk, history)
        if logs:
            put_log(disk, history.txns, OTHER_DIR)
        found = recover(disk, VERSION_2, OTHER_DIR, new_tree)
        assert same(found, history)
        assert [f"{OTHER_DIR} holds no logs" in text for text in caplog.messages] == ([] if logs else [True])
        caplog.clear()
        if not logs:
            assert same(recovered(disk), history)  # in one directory it is a snapshot that was restored
            assert not caplog.messages

    def test_other_names_are_left_alone(self) -> None:
        """What is being written, copies, and whatever else lies there."""
        history, disk = History(6), directory()
        history.run(10)
        put_snapshot(disk, history)
        for name in (
            "unfinished.snapshot.99",
            "snapshot.99.bak",
            "log.99.bak",
            "log.",
            "snapshot.xyz",
            "currentEpoch",
        ):
            disk.put(VERSION_2 / name, b"rubbish")
        assert same(recovered(disk), history)

    def test_the_logs_end_before_the_snapshot_was_complete(self, caplog: pytest.LogCaptureFixture) -> None:
        """Some changes are in it and others are not: that is said, as Apache says it."""
        history, disk = History(8), directory()
        history.run(100)
        begun = history.tree.last_zxid
        pieces = snapfile.write(history.tree, history.sessions)
        history.run(10)
        disk.put(VERSION_2 / f"snapshot.{begun:x}", b"".join(pieces))
        put_log(disk, history.txns[:105])
        found = recovered(disk)
        assert found.tree.last_zxid == begun + 5
        assert [
            f"up to 0x{history.zxid:x}, but the logs end at 0x{begun + 5:x}" in each
            for each in caplog.messages
        ] == [True]

    def test_an_acl_that_nothing_brings(self, caplog: pytest.LogCaptureFixture) -> None:
        """Apache's snapshots may lack one.  If the log does not set it, nobody may use the node; it is said."""
        history, disk = after(History(0), 0), directory()
        secret = Acl([ACL(1, Id("digest", "ann:x"))])
        for zxid, path in enumerate(("/a", "/b"), 1):
            apply(create_txn(zxid, path, secret), history.tree, history.sessions)
        body = b"".join(snapfile.write_unsealed(history.tree, {}))
        # Refer to another one instead.
        start = body.index(b"/a")
        assert body.count((3).to_bytes(8), start) == 2
        body = body[:start] + body[start:].replace((3).to_bytes(8), (9).to_bytes(8))
        raw = FILE_HEADER.pack(MAGIC, SNAPSHOT_VERSION, DBID) + body
        disk.put(VERSION_2 / "snapshot.2", raw + encode_ending(adler32(raw), Ending(None, None)))
        put_log(disk, [Transaction(0, 0, 3, BEGINNING, OpCode.SET_ACL, SetACLTxn("/b", secret, 1))])
        found = recovered(disk)
        assert list(found.tree.nodes["/b"].acl) == list(secret)
        assert found.tree.nodes["/a"].acl is snapfile.NOBODY
        assert [text.split()[0] for text in caplog.messages if "ACL" in text] == ["/a"]


def create_txn(zxid: int, path: str = "", acl: object = None) -> Transaction:
    body = CreateTxn(path or f"/n{zxid}", b"x", acl or [ACL(31, Id("world", "anyone"))], False, zxid)  # type: ignore[arg-type]
    return Transaction(0, 0, zxid, BEGINNING, OpCode.CREATE, body)


def test_a_second_crash_right_after_recovery() -> None:
    """However often it happens, and wherever in the recovery: the next one finds the same."""
    history = History(5)
    history.run(12)
    for call in range(1, 40):
        disk = directory()
        put_snapshot(disk, after(history, 0))
        path = put_log(disk, history.txns)
        disk.put(path, disk.contents(path)[:-3])
        disk.power_off_at(call)
        with suppress(PowerFailure):
            serve(disk, nothing)
        assert same(recovered(disk.crash(call)), after(history, 11)), call
