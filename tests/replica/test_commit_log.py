"""What a leader has at hand for learners: bounded, and without gaps."""

import pytest

from pyzkserver.replica.commit_log import CommitLog
from pyzkserver.state.transaction import Transaction
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import ErrorTxn


def txn(zxid: int) -> Transaction:
    return Transaction(0, 0, zxid, 0, OpCode.ERROR, ErrorTxn(0))


def filled(*zxids: int, limit: int = 500, limit_bytes: int = 1 << 20, size: int = 1) -> CommitLog:
    log = CommitLog(limit, limit_bytes)
    for zxid in zxids:
        log.add(txn(zxid), bytes(size))
    return log


def zxids(log: CommitLog, after: int = 0) -> list[int]:
    return [entry.txn.zxid for entry in log.after(after)]


def test_nothing_yet() -> None:
    """As Apache's: both ends are 0."""
    log = CommitLog()
    assert (len(log), log.min_zxid, log.max_zxid, zxids(log)) == (0, 0, 0, [])


def test_the_oldest_go() -> None:
    """commitLogCount is how many stay; min and max say what a DIFF can begin with and ends with."""
    log = filled(*range(1, 8), limit=5)
    assert (len(log), log.min_zxid, log.max_zxid) == (5, 3, 7)
    assert zxids(log) == [3, 4, 5, 6, 7]
    assert zxids(log, after=5) == [6, 7]
    assert zxids(log, after=7) == []


def test_large_ones_go_sooner() -> None:
    """500 transactions of a megabyte would be half a gigabyte; the last one always stays."""
    log = filled(1, 2, 3, limit_bytes=25, size=10)
    assert zxids(log) == [2, 3]
    log.add(txn(4), bytes(100))
    assert zxids(log) == [4]
    log.add(txn(5), bytes(10))
    assert zxids(log) == [5]


def test_a_new_epoch_counts_anew() -> None:
    """Epochs may be skipped as well: a leader that never proposed anything."""
    epoch = 1 << 32
    log = filled(epoch + 6, epoch + 7, 3 * epoch + 1, 3 * epoch + 2)
    assert zxids(log, epoch + 7) == [3 * epoch + 1, 3 * epoch + 2]


def test_what_is_there_already_is_passed_over() -> None:
    """A member that was brought up to date hears of the last ones twice."""
    assert zxids(filled(4, 5, 5, 4, 6)) == [4, 5, 6]


@pytest.mark.parametrize("zxid", [7, (1 << 32) - 1])
def test_gaps_are_mistakes(zxid: int) -> None:
    """A learner that got a DIFF with a hole in it would be lost without noticing."""
    log = filled(4, 5)
    with pytest.raises(ValueError, match=f"0x{zxid:x} was committed after 0x5"):
        log.add(txn(zxid), b"")
    assert zxids(log) == [4, 5]


def test_clearing() -> None:
    log = filled(4, 5)
    log.clear()
    assert (len(log), log.min_zxid, log.max_zxid) == (0, 0, 0)
    log.add(txn(99), b"")
    assert (log.min_zxid, log.max_zxid) == (99, 99)
