"""The fast way of the requests that clients send most, decoded in place.

get, exists, children and ping: each function of FAST answers one request whose body lies at
``data[pos:end]``, and says so; or it does nothing at all and returns False, for the plain way to answer or
refuse.  It takes only what is plainly all right: a node that is there and that anybody may read.

set and create: each function of FAST_DECODERS gives the request record that the plain decoder would give,
or None where it had better be asked.  What then becomes of it is the same for both.

Tests hold all of it against the plain way.
"""

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from pyzkserver.state.acl import Acl, intern
from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.requests import CreateRequest, OpCode, SetDataRequest

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["FAST", "FAST_DECODERS"]

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


def _decode_set_data(data: bytes, pos: int, end: int) -> SetDataRequest | None:
    # path, data, version; a null length, or one that leads past the end, is the plain decoder's business
    if end - pos < 12:
        return None
    at = pos + 4 + _LENGTH(data, pos)[0]
    if not pos + 4 <= at <= end - 8:
        return None
    stop = at + 4 + _LENGTH(data, at)[0]
    if stop + 4 > end or stop < at + 4:
        return None
    try:
        path = data[pos + 4 : at].decode()
    except UnicodeDecodeError:
        return None
    return SetDataRequest(path, data[at + 4 : stop], _LENGTH(data, stop)[0])


# What creates end with, an ACL and flags, as far as it was decoded before: clients send the same few again and again.
_tails: dict[bytes, tuple[Acl, int]] = {}
_TAILS_LIMIT = 256
_TAIL_LONGEST = 200


def _decode_create(data: bytes, pos: int, end: int) -> CreateRequest | None:
    # path, data, ACL, flags
    if end - pos < 16:
        return None
    at = pos + 4 + _LENGTH(data, pos)[0]
    if not pos + 4 <= at <= end - 12:
        return None
    stop = at + 4 + _LENGTH(data, at)[0]
    if not at + 4 <= stop <= end - 8:
        return None
    tail = _tails.get(data[stop:end])
    if tail is None:
        return _decode_create_with_new_tail(data, pos, stop, end)
    try:
        path = data[pos + 4 : at].decode()
    except UnicodeDecodeError:
        return None
    acl, flags = tail
    return CreateRequest(path, data[at + 4 : stop], acl, flags)  # type: ignore[arg-type]


def _decode_create_with_new_tail(data: bytes, pos: int, tail_at: int, end: int) -> CreateRequest | None:
    """Decode it the plain way, and remember how it ends."""
    try:
        request, request_end = CreateRequest.decode_from(data[pos:end], 0)
    except DecodeError:
        return None
    raw = data[tail_at:end]
    if request.acl and request_end == end - pos and len(raw) <= _TAIL_LONGEST:
        if len(_tails) >= _TAILS_LIMIT:
            _tails.clear()
        _tails[raw] = intern(request.acl), request.flags
    return request


FAST_DECODERS: dict[int, Callable[[bytes, int, int], CreateRequest | SetDataRequest | None]] = {
    int(OpCode.SET_DATA): _decode_set_data,
    int(OpCode.CREATE): _decode_create,
    int(OpCode.CREATE2): _decode_create,
}

FAST: dict[int, Callable[["Connection", bytes, int, int, int], bool]] = {
    int(OpCode.GET_DATA): _get_data,
    int(OpCode.EXISTS): _exists,
    int(OpCode.GET_CHILDREN2): _get_children2,
    int(OpCode.GET_CHILDREN): _get_children,
    int(OpCode.PING): _ping,
}
