"""Transactions as the log and the leader's proposals hold them: zookeeper.jute's ``txn`` module.

How they are framed in a file is said in ``storage/logfile.py``, what they do to the tree in ``state/``.
"""

from collections.abc import Sequence
from typing import Final

from .jute import Record, boolean, buffer, int32, int64, ustring, vector
from .proto import OpCode
from .records import ACL

__all__ = [
    "TXN_BODIES",
    "CheckVersionTxn",
    "CloseSessionTxn",
    "CreateContainerTxn",
    "CreateSessionTxn",
    "CreateTTLTxn",
    "CreateTxn",
    "CreateTxnV0",
    "DeleteTxn",
    "ErrorTxn",
    "MultiTxn",
    "SetACLTxn",
    "SetDataTxn",
    "SetMaxChildrenTxn",
    "Txn",
    "TxnDigest",
    "TxnHeader",
]


class TxnHeader(Record):
    """Comes before every transaction.  ``time`` is in milliseconds since 1970, ``type`` an OpCode."""

    client_id: int = int64()
    cxid: int = int32()
    zxid: int = int64()
    time: int = int64()
    type: int = int32()


class TxnDigest(Record):
    """May follow a transaction: the digest of the whole tree after it (``DigestCalculator``)."""

    version: int = int32()
    tree_digest: int = int64()


class CreateTxnV0(Record):
    """What create once wrote; ``SerializeUtils.deserializeTxn`` reads it where a CreateTxn is too long."""

    path: str | None = ustring()
    data: bytes | None = buffer()
    acl: Sequence[ACL] | None = vector(ACL)
    ephemeral: bool = boolean()


class CreateTxn(Record):
    """``parent_c_version`` counts the children ever created, this one included; -1: to be counted."""

    path: str | None = ustring()
    data: bytes | None = buffer()
    acl: Sequence[ACL] | None = vector(ACL)
    ephemeral: bool = boolean()
    parent_c_version: int = int32()


class CreateTTLTxn(Record):
    """``ttl`` is in milliseconds."""

    path: str | None = ustring()
    data: bytes | None = buffer()
    acl: Sequence[ACL] | None = vector(ACL)
    parent_c_version: int = int32()
    ttl: int = int64()


class CreateContainerTxn(Record):
    path: str | None = ustring()
    data: bytes | None = buffer()
    acl: Sequence[ACL] | None = vector(ACL)
    parent_c_version: int = int32()


class DeleteTxn(Record):
    path: str | None = ustring()


class SetDataTxn(Record):
    """``version`` is the node's new one; so in SetACLTxn."""

    path: str | None = ustring()
    data: bytes | None = buffer()
    version: int = int32()


class CheckVersionTxn(Record):
    """Stands in a MultiTxn only."""

    path: str | None = ustring()
    version: int = int32()


class SetACLTxn(Record):
    path: str | None = ustring()
    acl: Sequence[ACL] | None = vector(ACL)
    version: int = int32()


class SetMaxChildrenTxn(Record):
    """Declared in zookeeper.jute, but nothing in 3.9 writes it."""

    path: str | None = ustring()
    max: int = int32()


class CreateSessionTxn(Record):
    """``time_out`` is in milliseconds."""

    time_out: int = int32()


class CloseSessionTxn(Record):
    """The session's ephemeral nodes.  Logs of servers before 3.6 hold no body at all."""

    paths2_delete: list[str] | None = vector(ustring())


class ErrorTxn(Record):
    """A write that failed, and used up a zxid."""

    err: int = int32()


class Txn(Record):
    """One part of a MultiTxn: ``data`` is the encoded body for ``type``."""

    type: int = int32()
    data: bytes | None = buffer()


class MultiTxn(Record):
    txns: list[Txn] | None = vector(Txn)


# SerializeUtils.deserializeTxn; what is not here is an unknown transaction.  check appears inside a multi
# only.
TXN_BODIES: Final[dict[int, type[Record]]] = {
    OpCode.CREATE_SESSION: CreateSessionTxn,
    OpCode.CLOSE_SESSION: CloseSessionTxn,
    OpCode.CREATE: CreateTxn,
    OpCode.CREATE2: CreateTxn,
    OpCode.CREATE_TTL: CreateTTLTxn,
    OpCode.CREATE_CONTAINER: CreateContainerTxn,
    OpCode.DELETE: DeleteTxn,
    OpCode.DELETE_CONTAINER: DeleteTxn,
    OpCode.SET_DATA: SetDataTxn,
    OpCode.RECONFIG: SetDataTxn,
    OpCode.SET_ACL: SetACLTxn,
    OpCode.ERROR: ErrorTxn,
    OpCode.MULTI: MultiTxn,
    OpCode.CHECK: CheckVersionTxn,
}
