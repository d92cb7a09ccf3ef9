"""Every single call of the disk in a short run fails once, in several ways; what follows is known for each.

Either the server refuses to start and says why, or it stops because the log cannot be written, or it goes on
because nothing depends on it.  Whatever it does, what was acknowledged is there when it is started again.
"""

import copy
import errno
import logging
from collections import Counter
from functools import cache
from random import Random
from typing import NamedTuple

import pytest
import trio

from pyzkserver.storage.filelog import StorageFailed
from pyzkserver.storage.logfile import frame_entry, read_entries
from pyzkserver.storage.recovery import DataDirectoryError
from pyzkserver.wire.requests import (
    CreateRequest,
    MultiOp,
    MultiRequest,
    OpCode,
    SetDataRequest,
)

from .clients import OPEN, Ask, Book, SimClient
from .disk import SimDisk
from .host import SimHost, seeded_run
from .server import DATA_DIR, SimServer, settings
from .world import Reference, innermost

VERSION_2 = DATA_DIR / "version-2"
SETTINGS = settings(snap_count=2, txn_log_size_limit_in_kb=1, auto_purge_purge_interval=1)

REFUSES, STOPS, GOES_ON = "refuses to start", "stops", "goes on"


def create(path: str, token: str) -> Ask:
    request = CreateRequest(path, token.encode(), OPEN, 0)
    return Ask(OpCode.CREATE, request, token.encode(), [path])


def set_data(path: str, token: str) -> Ask:
    return Ask(OpCode.SET_DATA, SetDataRequest(path, token.encode(), -1), token.encode(), [path])


def set_both(token: str) -> Ask:
    """A multi."""
    paths = ["/a", "/b"]
    ops = [MultiOp(OpCode.SET_DATA, SetDataRequest(path, token.encode(), -1)) for path in paths]
    return Ask(OpCode.MULTI, MultiRequest(ops), token.encode(), paths)


class Past(NamedTuple):
    """A disk, and what its servers did and said so far."""

    disk: SimDisk
    book: Book
    reference: Reference


class Outcome(NamedTuple):
    result: str
    message: str
    started_after: int
    """How many calls it took to start."""


async def one_life(past: Past, name: str, rounds: int = 3) -> Outcome:
    """Start a server, let a client work, with snapshots in between, and stop it."""
    disk, book, reference = past
    before = disk.calls
    host = SimHost(disk)
    try:
        server = SimServer(SETTINGS, host)
    except DataDirectoryError as error:
        return Outcome(REFUSES, str(error), 0)
    started = disk.calls - before
    reference.check(server.recovered)
    book.check(server.recovered.tree)
    reference.watch(server)
    client = SimClient(name, book, Random(0), timeout=4000)
    result, message = GOES_ON, ""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            await script(client, server, name, rounds)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        stopped = innermost(group)
        if not isinstance(stopped, StorageFailed):
            raise
        result, message = STOPS, str(stopped)
        assert server.store.log is not None
        synced, answers = server.store.log.synced, book.answers
        assert book.shown <= synced
        # It is on its way out, and there are still clients who ask: nothing more is acknowledged.
        client.send([set_data("/a", f"{name}-late")])
        await trio.sleep(1)
        assert (server.store.log.synced, book.answers) == (synced, answers)
    server.stop()
    client.hang_up()
    assert book.complaints == []
    return Outcome(result, message, started)


async def script(client: SimClient, server: SimServer, name: str, rounds: int) -> None:
    client.connect(server)
    await client.answered()
    client.send([create("/a", f"{name}-a"), create("/b", f"{name}-b"), create("/a", f"{name}-again")])
    await client.answered()
    for number in range(rounds):
        await trio.sleep(0.1)  # time for a snapshot
        client.send([set_both(f"{name}-{number}"), create(f"/{name}-{number}", f"{name}-new-{number}")])
        await client.answered()
        client.send([set_data("/a", f"{name}-last-{number}")])
        await client.answered()
    await trio.sleep(0.5)  # time for purging


@cache
def first_past() -> Past:
    """An empty disk."""
    return Past(SimDisk(existing=(DATA_DIR.parent,)), Book(), Reference())


@cache
def second_past() -> Past:
    """What a server left that ended in the middle of a snapshot, and in the middle of a write."""
    past = copy.deepcopy(first_past())
    assert seeded_run(0, one_life, past, "first", 5).result == GOES_ON
    disk = past.disk.crash(0)
    disk.put(VERSION_2 / "unfinished.snapshot.99", b"half")
    newest = max((name for name in disk.listing(VERSION_2) if name.startswith("log.")), key=zxid)
    path = VERSION_2 / newest
    entries = list(read_entries([disk.contents(path)]))
    torn = frame_entry(entries[-1].payload)[:-5]
    disk.put(path, disk.contents(path)[: entries[-1].end] + torn)
    return Past(disk, past.book, past.reference)


def zxid(name: str) -> int:
    return int(name.partition(".")[2], 16)


PASTS = {"an empty directory": first_past, "a directory after a crash": second_past}
WAYS = {
    "EIO": {"error": errno.EIO},
    "ENOSPC, half done": {"error": errno.ENOSPC, "half": True},
    "EIO from then on": {"error": errno.EIO, "forever": True},
}


def expected(journal: list[str], call: int, started: int) -> str:
    """What a server does if that call fails; ``journal`` is that of a run in which none did."""
    if call <= started:
        return REFUSES
    what, _, name = journal[call - 1].rpartition(" ")
    if what in ("write", "sync", "truncate", "create") and name.startswith("log."):
        return STOPS
    if what == "close" and name.startswith("log."):
        # To begin a new one; the last one is closed when all is done.
        return STOPS if call < len(journal) else GOES_ON
    if what == "sync directory":
        return STOPS if journal[call - 2].startswith("sync log.") else GOES_ON
    return GOES_ON


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("past", PASTS)
def test_every_call_fails_once(past: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Create a directory, lock, create, write, sync, rename, truncate, remove …: one after the other."""
    caplog.set_level(logging.CRITICAL)
    smooth = copy.deepcopy(PASTS[past]())
    begun = smooth.disk.calls
    peaceful = seeded_run(1, one_life, smooth, "smooth")
    assert peaceful.result == GOES_ON
    journal = smooth.disk.journal[begun:]
    results: Counter[str] = Counter()
    for call in range(1, len(journal) + 1):
        results[fail(copy.deepcopy(PASTS[past]()), call, WAYS[way], journal, peaceful.started_after)] += 1
    assert set(results) == {REFUSES, STOPS, GOES_ON} or "forever" in WAYS[way]


def fail(past: Past, call: int, way: dict[str, int], journal: list[str], started: int) -> str:
    """Let that call fail, and see what comes of it, then and when the server is started again."""
    what = f"call {call}: {journal[call - 1]}"
    past.disk.fail_at(call, **way)  # type: ignore[arg-type]
    outcome = seeded_run(1, one_life, past, "faulty")
    wanted = expected(journal, call, started)
    if wanted == GOES_ON and "forever" in way and call < len(journal):
        # What failed did not matter; but then the log's turn comes, unless all was written.
        assert outcome.result in (STOPS, GOES_ON), what
    else:
        assert outcome.result == wanted, f"{what}: {outcome}"
    if outcome.result == REFUSES:
        assert str(DATA_DIR.parent) in outcome.message, what
        assert any(each in outcome.message for each in ("Input/output error", "No space left")), what
    if outcome.result == STOPS:
        assert f"{VERSION_2}/log." in outcome.message, what
    # The machine runs on; or it lost its power, too.
    for disk in (past.disk.kill(), past.disk.crash(call)):
        after = copy.deepcopy(past)._replace(disk=disk)
        assert seeded_run(2, one_life, after, "after", 0).result == GOES_ON, what
        names = disk.listing(VERSION_2)
        assert not [name for name in names if name.startswith(("unfinished.", "purged."))], what
    return outcome.result
