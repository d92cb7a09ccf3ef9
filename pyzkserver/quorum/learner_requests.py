"""What a learner's REQUEST asks its leader for."""

import logging
from typing import Any

from pyzkserver.replica.replica import Proposal
from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.requests import OPERATIONS, OpCode
from pyzkserver.wire.txns import CreateSessionTxn

from .audience import Link
from .quick import decode_quickly

__all__ = ["proposal_of"]

logger = logging.getLogger("pyzkserver.quorum")

_MULTI, _CREATE_SESSION = int(OpCode.MULTI), int(OpCode.CREATE_SESSION)


def proposal_of(link: Link, session_id: int, cxid: int, op: int, body: bytes, identities: Any) -> Proposal:
    """The write that a client of this learner wants.  Raises DecodeError for what no learner sends."""
    operation = OPERATIONS.get(op)
    request: Any = None
    if op == _CREATE_SESSION:
        request = CreateSessionTxn.decode(body)
    elif operation is None or not operation.write:
        # No learner sends it, and nothing could be made of it: no member knows how to apply a read.
        logger.info("session 0x%x has sent opcode %d as a write", session_id & (1 << 64) - 1, op)
        op = _MULTI
    elif operation.request is not None:
        try:
            request = decode_quickly(op, body) or operation.request.decode(body)
        except DecodeError as error:
            # It still has to become a transaction, for the learner waits for one: a multi that cannot be
            # read is judged as what it is.
            logger.info("a request of session 0x%x cannot be read: %s", session_id & (1 << 64) - 1, error)
            op = _MULTI
    return Proposal(op, request, session_id, cxid, identities or (), None, link)
