"""A transaction as the server passes it around: what the log stores and the tree applies; and what came of it.

The body is a record of ``wire.txns``; only a multi is kept as a list of such bodies, so that nothing is
encoded and decoded again on its way from ``prepare`` to ``tree``.
"""

from pyzkserver.wire.jute import Record

__all__ = ["Applied", "MultiBody", "Transaction"]


class MultiBody:
    """The operations of a multi: pairs of opcode and body.  All of them are errors, or none is."""

    __slots__ = ("ops",)

    def __init__(self, ops: list[tuple[int, Record]]) -> None:
        self.ops = ops


class Transaction:
    """What happens under one zxid (``TxnHeader`` and its body)."""

    __slots__ = ("body", "cxid", "op", "session_id", "time", "zxid")

    def __init__(
        self, session_id: int, cxid: int, zxid: int, time: int, op: int, body: Record | MultiBody | None
    ) -> None:
        self.session_id = session_id
        self.cxid = cxid
        self.zxid = zxid
        self.time = time
        """Wall-clock time in milliseconds since 1970."""
        self.op = op
        """The opcode, or ERROR for a request that was refused."""
        self.body = body


class Applied:
    """What came of one operation: what its reply is made of."""

    __slots__ = ("data", "err", "op", "parts", "path", "stat")

    def __init__(self, op: int, err: int = 0, path: str | None = None, stat: bytes | None = None) -> None:
        self.op = op
        self.err = err
        self.path = path
        self.stat = stat
        """The node's encoded Stat right after the operation."""
        self.data: bytes | None = None
        """Of a reconfiguration: the configuration that is in force now."""
        self.parts: list[Applied] | None = None
        """Of a multi: what came of each operation."""
