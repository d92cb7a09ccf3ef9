"""multi and multiRead: several operations in one request, and their results in one reply.

Neither is a plain record: a header says of what kind the next operation or result is, and a header that is
"done" ends them.  What the operations do is not said here.
"""

from typing import Final, NamedTuple, Self

from .jute import Buffer, DecodeError, Record
from .proto import (
    CheckVersionRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    OpCode,
    SetDataRequest,
    SetDataResponse,
)
from .records import CreateFlag, ErrorResponse, MultiHeader

__all__ = ["MultiOp", "MultiRequest", "MultiResponse", "MultiResult", "NullAcl"]

_END: Final = MultiHeader(-1, True, -1).encode()

_REQUESTS: Final[dict[int, type[Record]]] = {
    OpCode.CREATE: CreateRequest,
    OpCode.CREATE2: CreateRequest,
    OpCode.CREATE_CONTAINER: CreateRequest,
    OpCode.CREATE_TTL: CreateTTLRequest,
    OpCode.DELETE: DeleteRequest,
    OpCode.SET_DATA: SetDataRequest,
    OpCode.CHECK: CheckVersionRequest,
    OpCode.GET_CHILDREN: GetChildrenRequest,
    OpCode.GET_DATA: GetDataRequest,
}

_READS: Final = frozenset({OpCode.GET_CHILDREN, OpCode.GET_DATA})
_TTL_FLAGS: Final = frozenset({CreateFlag.PERSISTENT_WITH_TTL, CreateFlag.PERSISTENT_SEQUENTIAL_WITH_TTL})
_CREATE_FLAGS: Final = frozenset(CreateFlag)

# A result without a body is there too: its operation succeeded, and has nothing to say
# (MultiResponse.serialize).
_RESULTS: Final[dict[int, type[Record] | None]] = {
    OpCode.CREATE: CreateResponse,
    OpCode.CREATE2: Create2Response,
    OpCode.DELETE: None,
    OpCode.SET_DATA: SetDataResponse,
    OpCode.CHECK: None,
    OpCode.GET_CHILDREN: GetChildrenResponse,
    OpCode.GET_DATA: GetDataResponse,
    OpCode.ERROR: ErrorResponse,
}


class NullAcl(DecodeError):
    """A create in a multi has a null ACL.

    Apache stumbles here in another way than over what is merely malformed: no zxid is used up.
    """


class MultiOp(NamedTuple):
    """One operation of a multi.  ``op`` is what Apache takes it for, which is not always what was sent."""

    op: OpCode
    request: Record


class MultiRequest(Record):
    """The body of multi and multiRead (``MultiOperationRecord``).

    Decoding raises DecodeError for what fails the whole request in Apache: an operation that may not be in a
    multi, reads beside writes, a create with an unknown flag, a TTL flag without a ttl, or a null ACL.
    """

    __slots__ = ("ops",)

    def __init__(self, ops: list[MultiOp]) -> None:
        self.ops = ops

    def encode_to(self, out: list[bytes]) -> None:
        for op, request in self.ops:
            out.append(MultiHeader(op, False, -1).encode())
            request.encode_to(out)
        out.append(_END)

    @classmethod
    def decode_from(cls, data: Buffer, offset: int) -> tuple[Self, int]:
        ops: list[MultiOp] = []
        while True:
            start = offset
            header, offset = MultiHeader.decode_from(data, offset)
            if header.done:
                return cls(ops), offset
            if header.type not in _REQUESTS:
                raise DecodeError(f"MultiRequest at offset {start}: {header.type} may not be in a multi")
            request, offset = _REQUESTS[header.type].decode_from(data, offset)
            op = _as_apache_takes_it(OpCode(header.type), request, start)
            if ops and (op.op in _READS) != (ops[0].op in _READS):
                raise DecodeError(f"MultiRequest at offset {start}: reads and writes in one multi")
            ops.append(op)


def _as_apache_takes_it(op: OpCode, request: Record, start: int) -> MultiOp:
    """What becomes of an operation in ``MultiOperationRecord.deserialize`` and the factories of ``Op``."""
    if isinstance(request, CreateRequest):
        # CreateMode.fromFlag knows no such flag; CreateOptions refuses a null ACL, and, by way of
        # EphemeralType.validateTTL, a TTL mode, for there is no ttl.
        if request.flags not in _CREATE_FLAGS or request.flags in _TTL_FLAGS:
            raise DecodeError(f"MultiRequest at offset {start}: a create with flags {request.flags}")
        if request.acl is None:
            raise NullAcl(f"MultiRequest at offset {start}: a create without an ACL")
        # Op.Create.getOpcode: the flag makes a container; the opcode's own meaning comes second.
        if request.flags == CreateFlag.CONTAINER:
            return MultiOp(OpCode.CREATE_CONTAINER, request)
    elif isinstance(request, CreateTTLRequest) and request.flags not in _TTL_FLAGS:
        # Op.create(path, data, acl, flags, ttl): without a TTL mode the ttl is dropped, and with it the
        # opcode.  Here an unknown flag passes: the one operation fails later, in the ordinary way.
        plain = CreateRequest(request.path, request.data, request.acl, request.flags)
        container = request.flags == CreateFlag.CONTAINER
        return MultiOp(OpCode.CREATE_CONTAINER if container else OpCode.CREATE, plain)
    elif isinstance(request, GetChildrenRequest | GetDataRequest):
        request.watch = False  # Op.getChildren and Op.getData take the path alone
    return MultiOp(op, request)


class MultiResult(NamedTuple):
    """One operation's result: its type (create or create2 for creations, -1 for an error), and its body.

    ``err`` counts only if ``type`` is -1; then the body may be left out.
    """

    type: int
    err: int
    body: Record | None


class MultiResponse(Record):
    """The reply to multi and multiRead (``org.apache.zookeeper.MultiResponse``)."""

    __slots__ = ("results",)

    def __init__(self, results: list[MultiResult]) -> None:
        self.results = results

    def encode_to(self, out: list[bytes]) -> None:
        for type, err, body in self.results:
            if type == OpCode.ERROR:
                out.append(MultiHeader(type, False, err).encode())
                out.append(ErrorResponse(err).encode())
            else:
                out.append(MultiHeader(type, False, 0).encode())
                if body is not None:
                    body.encode_to(out)
        out.append(_END)

    @classmethod
    def decode_from(cls, data: Buffer, offset: int) -> tuple[Self, int]:
        results: list[MultiResult] = []
        while True:
            start = offset
            header, offset = MultiHeader.decode_from(data, offset)
            if header.done:
                return cls(results), offset
            if header.type not in _RESULTS:
                raise DecodeError(f"MultiResponse at offset {start}: no result has type {header.type}")
            body: Record | None = None
            record = _RESULTS[header.type]
            if record is not None:
                body, offset = record.decode_from(data, offset)
            # The body's code counts, the header's repeats it (MultiResponse.deserialize).
            err = body.err if isinstance(body, ErrorResponse) else 0
            results.append(MultiResult(header.type, err, body))
