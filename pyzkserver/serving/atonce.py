"""The fast way of set and create where nothing waits for a disk: judged, applied and answered in place.

Like the functions of ``fastpath``, each does all of it or, where a request is not plainly all right, nothing:
then it returns False, and the plain way (``plain``, ``state.prepare``, ``state.tree``) accepts or refuses it.
``Replica.at_once`` says where this may be done.  What waits for a log has its own quick way, ``quickwrites``.

Tests hold it against the plain way.
"""

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.digest import LOG_INTERVAL
from pyzkserver.state.node import Node
from pyzkserver.wire.requests import CreateRequest, OpCode

from .fastpath import FAST

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["FAST_AT_ONCE"]

_WRITE, _MAY_CREATE = 2, 4
_LAST_VERSION = 0x7FFF_FFFF  # the next one is below zero, as Java counts

_int = Struct(">i").unpack_from
_reply = Struct(">iiqi").pack  # length, xid, zxid, err

# How nearly all creates end: the open ACL, and no flags.
_PLAIN_END = CreateRequest("", b"", list(OPEN_ACL), 0).encode()[8:]


def _set_data(connection: "Connection", data: bytes, pos: int, end: int, xid: int) -> bool:
    # path, data, version; nothing behind it, and no path as short as the root's
    if end - pos < 14:
        return False
    at = pos + 4 + _int(data, pos)[0]
    if not pos + 6 <= at <= end - 8 or _int(data, at)[0] != end - at - 8:
        return False
    try:
        path = data[pos + 4 : at].decode()
    except UnicodeDecodeError:
        return False
    replica = connection.replica
    tree = replica.tree
    node = tree.nodes.get(path)
    if node is None or not node.acl.world & _WRITE:
        return False
    version, expected = node.version, _int(data, end - 4)[0]
    if (expected != -1 and expected != version) or version == _LAST_VERSION:
        return False
    session = replica.sessions.by_id.get(connection.session_id)
    if session is None or session.closing:
        return False
    zxid = replica.last_proposed = replica.last_proposed + 1
    content = data[at + 4 : end - 4]
    stat = tree.set_data(path, node, content, version + 1, zxid, connection.batch_time())
    reply = _reply(84, xid, zxid, 0) + stat
    tree.last_zxid = zxid
    if not zxid % LOG_INTERVAL:
        tree.digest.reached(zxid)
    _answer(connection, reply)
    return True


def _create(connection: "Connection", data: bytes, pos: int, end: int, xid: int) -> bool:
    created = _created(connection, data, pos, end)
    if created is None:
        return False
    raw, _, zxid = created
    _answer(connection, _reply(16 + len(raw), xid, zxid, 0) + raw)
    return True


def _create2(connection: "Connection", data: bytes, pos: int, end: int, xid: int) -> bool:
    created = _created(connection, data, pos, end)
    if created is None:
        return False
    raw, node, zxid = created
    _answer(connection, b"".join((_reply(84 + len(raw), xid, zxid, 0), raw, node.stat_bytes())))
    return True


def _created(connection: "Connection", data: bytes, pos: int, end: int) -> tuple[bytes, Node, int] | None:
    """Do it, and tell the path as it was sent, the node and the zxid; or None."""
    # path, data, ACL, flags
    if end - pos < 16:
        return None
    at = pos + 4 + _int(data, pos)[0]
    if not pos + 4 <= at <= end - 12:
        return None
    stop = at + 4 + _int(data, at)[0]
    if not at + 4 <= stop or data[stop:end] != _PLAIN_END:
        return None
    try:
        path = data[pos + 4 : at].decode()
    except UnicodeDecodeError:
        return None
    parent_path, _, name = path.rpartition("/")
    # Names as they nearly always are: printable ASCII, which cannot begin a relative path.  Nothing beside the
    # root, which has two names, and nothing that may be a quota's.
    if len(parent_path) < 2 or not name.isascii() or not name.isprintable() or name[:1] in ".":
        return None
    if path[:10] == "/zookeeper":
        return None
    replica = connection.replica
    tree = replica.tree
    nodes = tree.nodes
    parent = nodes.get(parent_path)
    if parent is None or not parent.acl.world & _MAY_CREATE or parent.ephemeral_owner or path in nodes:
        return None
    session = replica.sessions.by_id.get(connection.session_id)
    if session is None or session.closing or parent.cversion == _LAST_VERSION:
        return None
    zxid = replica.last_proposed = replica.last_proposed + 1
    node = Node(data[at + 4 : stop], OPEN_ACL, zxid, connection.batch_time())
    tree.add_node(path, node, parent_path, parent, name, parent.cversion + 1)
    tree.last_zxid = zxid
    if not zxid % LOG_INTERVAL:
        tree.digest.reached(zxid)
    return data[pos:at], node, zxid


def _answer(connection: "Connection", reply: bytes) -> None:
    """Behind the events, which its own watches may have had."""
    if not connection.aborted:
        connection.outbox.append(reply)
        connection.queued += len(reply)


FAST_AT_ONCE: dict[int, Callable[["Connection", bytes, int, int, int], bool]] = {
    **FAST,
    int(OpCode.SET_DATA): _set_data,
    int(OpCode.CREATE): _create,
    int(OpCode.CREATE2): _create2,
}
"""``FAST``, and these."""
