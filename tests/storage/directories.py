"""Data directories on a simulated disk, put together by hand or left by servers."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import trio
from sim.disk import SimDisk
from sim.host import SimHost, seeded_run
from sim.server import DATA_DIR, SimServer, settings

from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import snapfile
from pyzkserver.storage.logfile import encode_transaction, file_header, frame_entry, log_name
from pyzkserver.storage.recovery import Recovered, recover
from pyzkserver.storage.snapshots import snapshot_name
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import ErrorTxn

from .histories import BEGINNING, History

VERSION_2 = DATA_DIR / "version-2"
OTHER_DIR = Path("/var/log")
"""For dataLogDir."""

Main = Callable[[SimServer], Awaitable[Any]]


def new_disk() -> SimDisk:
    return SimDisk(existing=(DATA_DIR.parent, OTHER_DIR))


def new_tree() -> DataTree:
    return DataTree(extended_types=True)


# --- by hand ------------------------------------------------------------------------------------------------


def error_txn(zxid: int) -> Transaction:
    """A request that was refused: the plainest transaction there is."""
    return Transaction(0, 0, zxid, BEGINNING, OpCode.ERROR, ErrorTxn(-110))


def log_bytes(txns: Sequence[Transaction], digests: Sequence[int | None] = ()) -> bytes:
    """A log of these, without padding."""
    wanted = digests or [None] * len(txns)
    entries = (frame_entry(encode_transaction(txn, digest)) for txn, digest in zip(txns, wanted, strict=True))
    return file_header() + b"".join(entries)


def put_log(disk: SimDisk, txns: Sequence[Transaction], directory: Path = VERSION_2) -> Path:
    """A log of these, named by the first one."""
    path = directory / log_name(txns[0].zxid)
    disk.put(path, log_bytes(txns))
    return path


def put_snapshot(disk: SimDisk, history: History, directory: Path = VERSION_2) -> Path:
    """A snapshot of how it is now."""
    path = directory / snapshot_name(history.tree.last_zxid, "")
    disk.put(path, b"".join(snapfile.write(history.tree, history.sessions)))
    return path


def recovered(disk: SimDisk, **options: bool) -> Recovered:
    return recover(disk, VERSION_2, VERSION_2, new_tree, **options)


# --- left by servers ----------------------------------------------------------------------------------------


def serve(disk: SimDisk, main: Main, *, end: str = "stop", skew: float = 0.0, **changes: Any) -> SimServer:
    """Run a server on this disk as long as ``main`` does; then stop it, or let it ``die``."""

    async def life() -> SimServer:
        host = SimHost(disk)
        host.wall_clock_skew = skew
        server = SimServer(settings(**changes), host)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.run)
                await main(server)
                nursery.cancel_scope.cancel()
        finally:
            getattr(server, end)()
        return server

    return seeded_run(0, life)


async def nothing(server: SimServer) -> None:
    """Only start and stop."""
