"""The log by itself: what it counts, when it begins a new file, and how its files grow."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
from sim.disk import SimDisk

from pyzkserver.storage.filelog import FileLog, StorageFailed
from pyzkserver.storage.logfile import HEADER_SIZE, encode_transaction, read_entries

from .directories import VERSION_2, error_txn


class Worker:
    """Does each job when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], None], Callable[[BaseException | None], None]]] = []

    def submit(self, job: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        self.jobs.append((job, done))

    def work(self) -> None:
        while self.jobs:
            job, done = self.jobs.pop(0)
            failure: BaseException | None = None
            try:
                job()
            except OSError as error:
                failure = error
            done(failure)

    def stop(self) -> None:
        self.work()


class Bench:
    """A log, its disk and its worker; zxids go on by themselves."""

    def __init__(self, **options: Any) -> None:
        self.disk = SimDisk(existing=(VERSION_2,))
        self.worker = Worker()
        self.told: list[int] = []
        self.failures: list[StorageFailed] = []
        options = {"pre_alloc_bytes": 0, "elapsed_ms": lambda: 0, **options}
        self.log = FileLog(
            VERSION_2,
            self.disk,
            self.worker,
            soon=lambda flush: flush(),
            last_zxid=0,
            **options,
        )
        self.log.durable, self.log.failed = self.told.append, self.failures.append

    def append(self, count: int = 1) -> None:
        """In one piece, and flush it."""
        first = self.log.appended + 1
        payloads = [encode_transaction(error_txn(zxid), None) for zxid in range(first, first + count)]
        self.log.append_payloads(first, first + count - 1, payloads)
        self.worker.work()

    def files(self) -> dict[str, list[int]]:
        """The zxids in each file."""
        return {
            name: [entry.txn.zxid for entry in read_entries([self.disk.contents(VERSION_2 / name)])]
            for name in self.disk.listing(VERSION_2)
        }


def test_what_was_appended_is_counted_until_it_is_rolled() -> None:
    """By transactions and by bytes: that is when a snapshot is due."""
    bench = Bench()
    bench.append(3)
    bench.log.append_payload(4, encode_transaction(error_txn(4), None))
    bench.worker.work()
    assert bench.log.appended_since_roll == 4
    assert bench.log.bytes_since_roll == len(bench.disk.contents(VERSION_2 / "log.1")) - HEADER_SIZE
    bench.log.roll()
    assert (bench.log.appended_since_roll, bench.log.bytes_since_roll) == (0, 0)


def test_a_roll_begins_one_file() -> None:
    """With the next transaction; the one after that goes into the same."""
    bench = Bench()
    bench.append(2)
    bench.log.roll()
    for _ in range(3):
        bench.append()
    assert bench.files() == {"log.1": [1, 2], "log.3": [3, 4, 5]}


def test_a_file_has_a_limit() -> None:
    """txnLogSizeLimitInKb: one that has become larger is not appended to; without a limit all are."""
    size = Bench()
    size.append()
    entry = len(size.disk.contents(VERSION_2 / "log.1")) - HEADER_SIZE
    bench = Bench(size_limit_bytes=HEADER_SIZE + 2 * entry)
    for _ in range(4):
        bench.append()
    assert bench.files() == {"log.1": [1, 2, 3], "log.4": [4]}


def test_a_file_grows_in_large_steps() -> None:
    """preAllocSize: its size need not be stored with each flush."""
    bench = Bench(pre_alloc_bytes=64 << 10)
    bench.append()
    assert len(bench.disk.contents(VERSION_2 / "log.1")) == 64 << 10
    while bench.disk.journal.count("truncate log.1") < 2:
        bench.append(100)
    assert len(bench.disk.contents(VERSION_2 / "log.1")) == 128 << 10
    assert bench.files()["log.1"] == list(range(1, bench.log.synced + 1))


def test_the_next_group_is_on_its_way_before_this_one_is_answered() -> None:
    """The disk works while the answers are written."""
    bench = Bench()
    first, second = (encode_transaction(error_txn(zxid), None) for zxid in (1, 2))
    bench.log.append_payload(1, first)
    bench.log.append_payload(2, second)
    under_way: list[int] = []
    bench.log.durable = lambda zxid: under_way.append(len(bench.worker.jobs))
    bench.worker.work()
    assert under_way == [1, 0]


@pytest.mark.parametrize("call", ["write", "sync"])
def test_after_a_failure_nothing_is_under_way(call: str) -> None:
    """Nobody waits for a flush that will not come."""
    bench = Bench()
    bench.append()
    bench.disk.fail_at({"write": 1, "sync": 2}[call], errno.EIO)
    bench.append()
    assert len(bench.failures) == 1
    assert not bench.log.flushing
    assert (bench.told, bench.files()) == ([1], {"log.1": [1]})


def test_the_first_of_a_group_names_the_file() -> None:
    """However its transactions came: singly, as they come to a member of an ensemble, or as a run."""
    bench = Bench()
    for zxid in (7, 8, 9):
        bench.log.append_payload(zxid, encode_transaction(error_txn(zxid), None))
    assert len(bench.worker.jobs) == 1  # with the first; the others gather meanwhile
    bench.worker.work()
    bench.log.roll()
    payloads = [encode_transaction(error_txn(zxid), None) for zxid in (10, 11)]
    bench.log.append_payloads(10, 11, payloads)
    bench.log.append_payload(12, encode_transaction(error_txn(12), None))
    bench.worker.work()
    assert bench.files() == {"log.7": [7, 8, 9], "log.a": [10, 11, 12]}
    assert bench.told == [7, 9, 11, 12]


def test_the_digest_of_a_group_is_that_of_its_last_transaction() -> None:
    """It is asked for when the group leaves, and only where that one came without a digest that it may have."""
    bench = Bench()
    bench.log.digest = lambda: 77
    bench.log.append(error_txn(1), 11)
    bench.log.append(error_txn(2))
    bench.log.append(error_txn(3))
    bench.worker.work()
    bench.log.append_payload(4, encode_transaction(error_txn(4), None))
    bench.worker.work()
    bench.log.append_payloads(5, 5, [encode_transaction(error_txn(5), None)], False)
    bench.worker.work()
    entries = list(read_entries([bench.disk.contents(VERSION_2 / "log.1")]))
    digests = [entry.digest and entry.digest[1] for entry in entries]
    assert digests == [11, None, 77, None, 77]
    assert [len(entry.payload) - len(encode_transaction(entry.txn, None)) for entry in entries] == [
        12 if digest else 0 for digest in digests
    ]


def test_a_new_file_is_durable_with_its_name() -> None:
    """Before anybody is told; one that is there already is not looked at again."""
    bench = Bench()
    bench.append()
    assert bench.disk.journal[-2:] == ["sync log.1", "sync directory version-2"]
    for seed in range(20):
        assert bench.disk.crash(seed).listing(VERSION_2) == ["log.1"]
    bench.append()
    assert bench.disk.journal[-1] == "sync log.1"


def test_without_forced_syncs_there_are_none() -> None:
    """forceSync=no: the kernel writes it when it likes, and what is told is not sure."""
    bench = Bench(force_sync=False)
    bench.append(2)
    assert bench.told == [2]
    assert not [call for call in bench.disk.journal if call.startswith("sync")]


def test_only_a_flush_beyond_the_threshold_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """fsync.warningthresholdms: it has taken longer than that, and how long is said."""
    now = iter((0, 1000, 2000, 3001))
    bench = Bench(elapsed_ms=lambda: next(now))
    bench.append()
    assert not caplog.messages
    bench.append()
    assert "took 1001 ms; writes wait that long (fsync.warningthresholdms is 1000)" in caplog.text


def test_closing_waits_for_what_is_under_way() -> None:
    """It goes into the file that was open, which is closed behind it."""
    bench = Bench()
    bench.append()
    bench.log.append_payload(2, encode_transaction(error_txn(2), None))
    bench.log.close()
    assert bench.files() == {"log.1": [1, 2]}
    assert bench.disk.journal[-2:] == ["sync log.1", "close log.1"]
