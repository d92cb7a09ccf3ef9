"""What members of an ensemble must have in common when they have stopped, and clients that watch over it."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError
from storage.histories import appearance

from pyzkserver.state.tree import DataTree
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.recovery import DataDirectoryError, Recovered, recover

from .ensemble import Ensemble, Member


def contents(member: Member, copy: Path) -> Recovered:
    """What a stopped member's directory holds, read from a copy: the torn end of a log would be cut off."""
    shutil.copytree(member.data, copy, dirs_exist_ok=False)
    return recover(RealDisk(), copy, copy, lambda: DataTree(extended_types=True))


_LOG_GIVEN_UP = re.compile(
    r"Severe unrecoverable error, from thread : SyncThread:\d+\s+java\.lang\.NullPointerException.*\n"
    r"\s+at org\.apache\.zookeeper\.server\.quorum\.SendAckRequestProcessor\b"
)


def lost_by_apache(member: Member, failure: DataDirectoryError) -> bool:
    """Whether the gap in this member's log is that of ZOOKEEPER-4409, which all releases of Apache's 3.8 have.

    When a follower loses its leader, ``Learner.closeSockSync`` sets the socket to null.  The thread that writes the
    log may be acknowledging to it, trips over the null (``SendAckRequestProcessor``) and ends; what waits for that
    thread is never written, though it may be committed, and applied in memory.  The next leader sends what comes
    behind that.
    """
    said = member.said()
    is_gap = "transactions are missing between them" in str(failure)
    return is_gap and "--- starts as 3.8\n" in said and _LOG_GIVEN_UP.search(said) is not None


def assert_identical(stopped: Ensemble, folder: Path) -> DataTree:
    """All members have the same tree, digest and sessions included, and their logs lead to it; return it.

    A member whose log is incomplete by a defect of Apache's is left out, as long as a majority is there.
    """
    found = {}
    members = [member for member in stopped.members if member.data.exists()]
    for member in members:
        try:
            found[member.number] = contents(member, folder / f"copy-{member.number}")
        except DataDirectoryError as failure:
            if not lost_by_apache(member, failure):
                raise
    assert len(found) > len(members) // 2
    first = next(iter(found.values()))
    for number, recovered in found.items():
        assert recovered.mismatches == 0, f"the log of {number} does not lead to the digests that it holds"
        assert recovered.sessions == first.sessions, number
        mine, theirs = appearance(recovered.tree), appearance(first.tree)
        # A member that was brought up by a snapshot may have logged nothing behind it.
        mine.pop("last_zxid"), theirs.pop("last_zxid")
        # The configuration is put there when a member starts; only a snapshot keeps what it was.
        mine["nodes"].pop("/zookeeper/config", None), theirs["nodes"].pop("/zookeeper/config", None)
        for path in mine["nodes"].keys() | theirs["nodes"].keys():
            assert mine["nodes"].get(path) == theirs["nodes"].get(path), (number, path)
        assert mine == theirs, number
    return first.tree


class Writer:
    """Creates nodes below a path, one after the other, whatever happens to the servers, and keeps a book."""

    def __init__(self, client: KazooClient, home: str) -> None:
        self.client = client
        self.home = home
        self.acknowledged: set[str] = set()
        self.doubtful: set[str] = set()
        """Asked for, and never heard of."""
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        number = 0
        try:
            while not self._stop.is_set():
                number += 1
                self._create(f"n{number:06}")
        except BaseException as failure:
            self.failure = failure

    def _create(self, name: str) -> None:
        self.doubtful.add(name)
        try:
            self.client.create(f"{self.home}/{name}", name.encode())
        except NodeExistsError:
            raise
        except KazooException:
            self._stop.wait(0.02)  # no connection at the moment: whether it happened is not known
            return
        self.doubtful.discard(name)
        self.acknowledged.add(name)

    def start(self) -> None:
        self.client.ensure_path(self.home)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), f"{self.home} got no answer"
        if self.failure is not None:
            raise self.failure

    def check(self, tree: DataTree) -> None:
        """No acknowledged write was lost, and nothing is there that was not asked for."""
        names = set(tree.nodes[self.home].children or ())
        lost = self.acknowledged - names
        assert not lost, f"{len(lost)} of {len(self.acknowledged)} are lost: {sorted(lost)[:5]}"
        assert names <= self.acknowledged | self.doubtful
        for name in names:
            assert tree.nodes[f"{self.home}/{name}"].data == name.encode()


@contextmanager
def writers(clients: list[KazooClient]) -> Iterator[list[Writer]]:
    """Each of these writes until the block ends."""
    made = [Writer(client, f"/writer-{number}") for number, client in enumerate(clients)]
    for writer in made:
        writer.start()
    yield made
    for writer in made:
        writer.stop()
