"""What the books forgive: a defect of Apache's 3.8 that is named, where its log shows it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyzkserver.storage.recovery import DataDirectoryError

from .books import lost_by_apache
from .ensemble import PYTHON, Member

GAP = "log.300000104: zxid 0x300000137 comes after 0x300000132: transactions are missing between them. A log file …"
SEEN_WITH_380 = """\
[SyncThread:2] ERROR org.apache.zookeeper.server.ZooKeeperCriticalThread - Severe unrecoverable error, from thread : SyncThread:2
java.lang.NullPointerException: Cannot invoke "java.net.Socket.isClosed()" because "this.learner.sock" is null
	at org.apache.zookeeper.server.quorum.SendAckRequestProcessor.flush(SendAckRequestProcessor.java:67)
	at org.apache.zookeeper.server.SyncRequestProcessor.flush(SyncRequestProcessor.java:248)
"""  # noqa: E501


@pytest.mark.parametrize(
    ("said", "failure", "forgiven"),
    [
        (f"--- starts as 3.8\n{SEEN_WITH_380}", GAP, True),
        (f"--- starts as 3.8\n{SEEN_WITH_380}", "log.1: damaged at byte 7", False),
        ("--- starts as 3.8\n", GAP, False),
        (f"--- starts as 3.9\n{SEEN_WITH_380}", GAP, False),
        (f"--- starts as {PYTHON}\n", GAP, False),
    ],
)
def test_a_gap_is_forgiven_where_apaches_log_thread_died(
    said: str, failure: str, forgiven: bool, tmp_path: Path
) -> None:
    """ZOOKEEPER-4409: gaps that come of anything else are defects, of ours before all."""
    member = Member(2, "3.8", tmp_path)
    member.log.write_text(said)
    assert lost_by_apache(member, DataDirectoryError(failure)) is forgiven
