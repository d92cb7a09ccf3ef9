"""The quick way to read set and create where members tell each other of them: as proposals, and as requests.

Each function gives what the plain decoder would give, but for an open ACL, which is the one object that all nodes
share; what is not plainly a set or a create with the open ACL is the plain decoder's.  Tests hold both together.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812

from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.digest import DIGEST_VERSION
from pyzkserver.state.transaction import Transaction
from pyzkserver.storage.txncodec import HEADER, decode_transaction
from pyzkserver.wire.requests import CreateRequest, OpCode, SetDataRequest
from pyzkserver.wire.txns import CreateTxn, SetDataTxn

__all__ = ["decode_proposal", "decode_quickly"]

_SET_DATA = int(OpCode.SET_DATA)
_CREATES = (int(OpCode.CREATE), int(OpCode.CREATE2))

_header = HEADER.unpack_from
_int = Struct(">i").unpack_from
_end_of_create = Struct(">?i").unpack_from  # ephemeral, the parent's cversion
_digest = Struct(">iQ").unpack_from
_DIGEST_SIZE = 12
_OPEN = CreateRequest("", b"", list(OPEN_ACL), 0).encode()[8:-4]


def decode_proposal(payload: bytes) -> tuple[Transaction, int | None]:
    """A transaction, and the digest of the leader's tree after it if it is there.  Raises DecodeError."""
    try:
        session_id, cxid, zxid, time, op = _header(payload)
        if op == _SET_DATA or op in _CREATES:
            found = _path_and_data(payload, HEADER.size)
            if found is not None:
                path, data, end = found
                body: SetDataTxn | CreateTxn | None = None
                if op == _SET_DATA:
                    body = SetDataTxn(path, data, _int(payload, end)[0])
                    end += 4
                elif payload.startswith(_OPEN, end):
                    end += len(_OPEN)
                    ephemeral, cversion = _end_of_create(payload, end)
                    body = CreateTxn(path, data, OPEN_ACL, ephemeral, cversion)
                    end += 5
                if body is not None:
                    digest = None
                    if len(payload) - end >= _DIGEST_SIZE:
                        version, value = _digest(payload, end)
                        digest = value if version == DIGEST_VERSION else None
                    return Transaction(session_id, cxid, zxid, time, op, body), digest
    except (StructError, UnicodeDecodeError):
        pass
    txn, counted = decode_transaction(payload)
    return txn, counted[1] if counted is not None and counted[0] == DIGEST_VERSION else None


def decode_quickly(op: int, body: bytes) -> SetDataRequest | CreateRequest | None:
    """A client's request, or None if the plain decoder has to be asked."""
    if op != _SET_DATA and op not in _CREATES:
        return None
    try:
        found = _path_and_data(body, 0)
        if found is None:
            return None
        path, data, end = found
        if op == _SET_DATA:
            return SetDataRequest(path, data, _int(body, end)[0])
        if body.startswith(_OPEN, end):
            return CreateRequest(path, data, OPEN_ACL, _int(body, end + len(_OPEN))[0])  # type: ignore[arg-type]
    except (StructError, UnicodeDecodeError):
        pass
    return None


def _path_and_data(raw: bytes, at: int) -> tuple[str, bytes, int] | None:
    """What both begin with, and where it ends; None where a length is null, or wrong."""
    start = at + 4
    middle = start + _int(raw, at)[0]
    if middle < start:
        return None
    end = middle + 4 + _int(raw, middle)[0]
    if not middle + 4 <= end <= len(raw):
        return None
    return raw[start:middle].decode(), raw[middle + 4 : end], end
