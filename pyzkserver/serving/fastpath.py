"""The fast way of the requests that clients send most: get, exists, children and ping, decoded in place.

Each function answers one request whose body lies at ``data[pos:end]``, and says so; or it does nothing at
all and returns False, for the plain way to answer or refuse.  It takes only what is plainly all right: a
node that is there and that anybody may read.  Tests hold it against the plain way.
"""

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from pyzkserver.wire.requests import OpCode

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["FAST"]

_READ = 1
_LENGTH = Struct(">i").unpack_from
_HEADER = Struct(">iiqi").pack  # length, xid, zxid, err
_HEADER_AND_LENGTH = Struct(">iiqii").pack  # the same, and the length of the data


def _path(data: bytes, pos: int, end: int) -> str | None:
    """The path of a request that is a path and a watch flag, or None for what is not plainly so."""
    if end - pos < 5:
        return None
    (length,) = _LENGTH(data, pos)
    if length < 0 or pos + 5 + length > end:
        return None
    try:
        return data[pos + 4 : pos + 4 + length].decode()
    except UnicodeDecodeError:
        return None


def _get_data(connection: "Connection", data: bytes, pos: int, end: int, xid: int) -> bool:
    path = _path(data, pos, end)
    tree = connection.replica.tree
    node = tree.nodes.get(path)  # type: ignore[arg-type]
    if node is None or path is None or not node.acl.world & _READ or node.data is None:
        return False
    if data[pos + 4 + _LENGTH(data, pos)[0]]:
        tree.watches.data.add(path, connection)
    content = node.data
    size = len(content)
    connection.outbox += (
        _HEADER_AND_LENGTH(88 + size, xid, tree.last_zxid, 0, size),
        content,
        node.stat_bytes(),
    )
    connection.queued += 92 + size
    return True


def _exists(connection: "Connection", data: bytes, pos: int, end: int, xid: int) -> bool:
    path = _path(data, pos, end)
    tree = connection.replica.tree
    node = tree.nodes.get(path)  # type: ignore[arg-type]
    if node is None or path is None or not node.acl.world & _READ:
        return False
    if data[pos + 4 + _LENGTH(data, pos)[0]]:
        tree.watches.data.add(path, connection)
    connection.outbox += (_HEADER(84, xid, tree.last_zxid, 0), node.stat_bytes())
    connection.queued += 88
    return True


def _get_children2(connection: "Connection", data: bytes, pos: int, end: int, xid: int) -> bool:
    path = _path(data, pos, end)
    tree = connection.replica.tree
    node = tree.nodes.get(path)  # type: ignore[arg-type]
    if node is None or path is None or not node.acl.world & _READ:
        return False
    if data[pos + 4 + _LENGTH(data, pos)[0]]:
        tree.watches.child.add(path, connection)
    listing = node.listing_bytes()
    connection.outbox += (_HEADER(84 + len(listing), xid, tree.last_zxid, 0), listing, node.stat_bytes())
    connection.queued += 88 + len(listing)
    return True


def _get_children(connection: "Connection", data: bytes, pos: int, end: int, xid: int) -> bool:
    path = _path(data, pos, end)
    tree = connection.replica.tree
    node = tree.nodes.get(path)  # type: ignore[arg-type]
    if node is None or path is None or not node.acl.world & _READ:
        return False
    if data[pos + 4 + _LENGTH(data, pos)[0]]:
        tree.watches.child.add(path, connection)
    listing = node.listing_bytes()
    connection.outbox += (_HEADER(16 + len(listing), xid, tree.last_zxid, 0), listing)
    connection.queued += 20 + len(listing)
    return True


def _ping(connection: "Connection", data: bytes, pos: int, end: int, xid: int) -> bool:
    connection.outbox.append(_HEADER(16, -2, connection.replica.tree.last_zxid, 0))
    connection.queued += 20
    return True


FAST: dict[int, Callable[["Connection", bytes, int, int, int], bool]] = {
    int(OpCode.GET_DATA): _get_data,
    int(OpCode.EXISTS): _exists,
    int(OpCode.GET_CHILDREN2): _get_children2,
    int(OpCode.GET_CHILDREN): _get_children,
    int(OpCode.PING): _ping,
}
