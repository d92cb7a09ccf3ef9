"""``OPERATIONS``, the one table: which number means which operation, with which request and which reply.

All names of ``proto.py`` and ``multi.py`` can be imported from here.  What an operation does is not said
here.
"""

from dataclasses import dataclass
from typing import Final

from . import multi, proto
from .jute import Record
from .multi import *  # noqa: F403
from .proto import *  # noqa: F403
from .proto import OpCode
from .records import ConnectResponse, ErrorResponse

__all__ = ["OPERATIONS", "Operation"]
__all__ += multi.__all__
__all__ += proto.__all__


@dataclass(frozen=True, slots=True)
class Operation:
    """What is known of an operation before it is looked at.

    ``request`` is None where no body is read, ``reply`` None where only a header answers.  ``write`` says
    that it is ordered with all other writes and uses up a zxid (``Request.isQuorum``).  ``short`` is what the
    four-letter command cons calls it (``lop``; from ``FinalRequestProcessor``, "NA" for what never gets
    there).
    """

    op: OpCode
    request: type[Record] | None
    reply: type[Record] | None
    write: bool
    short: str


_WRITE, _READ = True, False

# check stands in the table for what it is in a multi; a check that comes alone is refused as unknown
# (Request.isValid).
_TABLE: Final = [
    Operation(OpCode.CREATE, proto.CreateRequest, proto.CreateResponse, _WRITE, "CREA"),
    Operation(OpCode.CREATE2, proto.CreateRequest, proto.Create2Response, _WRITE, "CREA"),
    Operation(OpCode.CREATE_CONTAINER, proto.CreateRequest, proto.Create2Response, _WRITE, "CREA"),
    Operation(OpCode.CREATE_TTL, proto.CreateTTLRequest, proto.Create2Response, _WRITE, "CREA"),
    Operation(OpCode.DELETE, proto.DeleteRequest, None, _WRITE, "DELE"),
    Operation(OpCode.DELETE_CONTAINER, proto.DeleteContainerRequest, None, _WRITE, "DELE"),
    Operation(OpCode.EXISTS, proto.ExistsRequest, proto.ExistsResponse, _READ, "EXIS"),
    Operation(OpCode.GET_DATA, proto.GetDataRequest, proto.GetDataResponse, _READ, "GETD"),
    Operation(OpCode.SET_DATA, proto.SetDataRequest, proto.SetDataResponse, _WRITE, "SETD"),
    Operation(OpCode.CHECK, proto.CheckVersionRequest, None, _WRITE, "CHEC"),
    Operation(OpCode.SYNC, proto.SyncRequest, proto.SyncResponse, _READ, "SYNC"),
    Operation(OpCode.GET_CHILDREN, proto.GetChildrenRequest, proto.GetChildrenResponse, _READ, "GETC"),
    Operation(OpCode.GET_CHILDREN2, proto.GetChildren2Request, proto.GetChildren2Response, _READ, "GETC"),
    Operation(
        OpCode.GET_ALL_CHILDREN_NUMBER,
        proto.GetAllChildrenNumberRequest,
        proto.GetAllChildrenNumberResponse,
        _READ,
        "GETACN",
    ),
    Operation(OpCode.GET_EPHEMERALS, proto.GetEphemeralsRequest, proto.GetEphemeralsResponse, _READ, "GETE"),
    Operation(OpCode.GET_ACL, proto.GetACLRequest, proto.GetACLResponse, _READ, "GETA"),
    Operation(OpCode.SET_ACL, proto.SetACLRequest, proto.SetACLResponse, _WRITE, "SETA"),
    Operation(OpCode.MULTI, multi.MultiRequest, multi.MultiResponse, _WRITE, "MULT"),
    Operation(OpCode.MULTI_READ, multi.MultiRequest, multi.MultiResponse, _READ, "MLTR"),
    Operation(OpCode.SET_WATCHES, proto.SetWatches, None, _READ, "SETW"),
    Operation(OpCode.SET_WATCHES2, proto.SetWatches2, None, _READ, "STW2"),
    Operation(OpCode.ADD_WATCH, proto.AddWatchRequest, ErrorResponse, _READ, "ADDW"),
    Operation(OpCode.CHECK_WATCHES, proto.CheckWatchesRequest, None, _READ, "CHKW"),
    Operation(OpCode.REMOVE_WATCHES, proto.RemoveWatchesRequest, None, _READ, "REMW"),
    Operation(OpCode.RECONFIG, proto.ReconfigRequest, proto.GetDataResponse, _WRITE, "RECO"),
    Operation(OpCode.PING, None, None, _READ, "PING"),
    Operation(OpCode.AUTH, proto.AuthPacket, None, _READ, "NA"),
    Operation(OpCode.SASL, proto.GetSASLRequest, proto.SetSASLResponse, _READ, "NA"),
    Operation(OpCode.WHO_AM_I, None, proto.WhoAmIResponse, _READ, "HOMI"),
    Operation(OpCode.CREATE_SESSION, None, ConnectResponse, _WRITE, "SESS"),
    Operation(OpCode.CLOSE_SESSION, None, None, _WRITE, "CLOS"),
]

OPERATIONS: Final[dict[int, Operation]] = {int(operation.op): operation for operation in _TABLE}
