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
        options = {"pre_alloc_bytes": 0, **options}
        self.log = FileLog(
            VERSION_2,
            self.disk,
            self.worker,
            soon=lambda flush: flush(),
            elapsed_ms=lambda: 0,
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
