"""Which requests a session that only one member knows cannot make: those that create ephemeral nodes."""

from typing import Any

from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.requests import CreateRequest, MultiRequest, OpCode

__all__ = ["creates_ephemeral"]

_CREATE, _CREATE2, _MULTI = int(OpCode.CREATE), int(OpCode.CREATE2), int(OpCode.MULTI)
_EPHEMERAL = (1, 3)  # CreateFlag.EPHEMERAL, EPHEMERAL_SEQUENTIAL


def creates_ephemeral(op: int, request: Any) -> bool:
    """Whether a request, decoded or as its bytes, creates an ephemeral node (``checkUpgradeSession``).

    One that cannot be read does not; whoever judges it says so.
    """
    if op not in (_CREATE, _CREATE2, _MULTI):
        return False
    if isinstance(request, bytes):
        try:
            request = (MultiRequest if op == _MULTI else CreateRequest).decode(request)
        except DecodeError:
            return False
    if op != _MULTI:
        return request is not None and request.flags in _EPHEMERAL
    return request is not None and any(
        part.op in (_CREATE, _CREATE2) and part.request.flags in _EPHEMERAL for part in request.ops
    )
