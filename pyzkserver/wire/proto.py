"""The numbers of all operations, and the records of their requests and replies: zookeeper.jute's ``proto``
module.

Which record belongs to which operation is said in ``requests.py``, from where all of this is imported;
multi's requests and replies are no plain records, and are in ``multi.py``.
"""

from enum import IntEnum

from .jute import Record, boolean, buffer, int32, int64, record, ustring, vector
from .records import ACL, ClientInfo, Stat

__all__ = [
    "AddWatchRequest",
    "AuthPacket",
    "CheckVersionRequest",
    "CheckWatchesRequest",
    "Create2Response",
    "CreateRequest",
    "CreateResponse",
    "CreateTTLRequest",
    "DeleteContainerRequest",
    "DeleteRequest",
    "ExistsRequest",
    "ExistsResponse",
    "GetACLRequest",
    "GetACLResponse",
    "GetAllChildrenNumberRequest",
    "GetAllChildrenNumberResponse",
    "GetChildren2Request",
    "GetChildren2Response",
    "GetChildrenRequest",
    "GetChildrenResponse",
    "GetDataRequest",
    "GetDataResponse",
    "GetEphemeralsRequest",
    "GetEphemeralsResponse",
    "GetMaxChildrenRequest",
    "GetMaxChildrenResponse",
    "GetSASLRequest",
    "OpCode",
    "ReconfigRequest",
    "RemoveWatchesRequest",
    "SetACLRequest",
    "SetACLResponse",
    "SetDataRequest",
    "SetDataResponse",
    "SetMaxChildrenRequest",
    "SetSASLRequest",
    "SetSASLResponse",
    "SetWatches",
    "SetWatches2",
    "SyncRequest",
    "SyncResponse",
    "WhoAmIResponse",
]


class OpCode(IntEnum):
    """``ZooDefs.OpCode`` of 3.9."""

    NOTIFICATION = 0
    CREATE = 1
    DELETE = 2
    EXISTS = 3
    GET_DATA = 4
    SET_DATA = 5
    GET_ACL = 6
    SET_ACL = 7
    GET_CHILDREN = 8
    SYNC = 9
    PING = 11
    GET_CHILDREN2 = 12
    CHECK = 13
    MULTI = 14
    CREATE2 = 15
    RECONFIG = 16
    CHECK_WATCHES = 17
    REMOVE_WATCHES = 18
    CREATE_CONTAINER = 19
    DELETE_CONTAINER = 20
    CREATE_TTL = 21
    MULTI_READ = 22
    AUTH = 100
    SET_WATCHES = 101
    SASL = 102
    GET_EPHEMERALS = 103
    GET_ALL_CHILDREN_NUMBER = 104
    SET_WATCHES2 = 105
    ADD_WATCH = 106
    WHO_AM_I = 107
    CREATE_SESSION = -10
    CLOSE_SESSION = -11
    ERROR = -1


# --- creating and deleting ----------------------------------------------------------------------------------


class CreateRequest(Record):
    """Of create, create2 and createContainer; ``flags`` is a CreateFlag, or anything else."""

    path: str | None = ustring()
    data: bytes | None = buffer()
    acl: list[ACL] | None = vector(ACL)
    flags: int = int32()


class CreateTTLRequest(Record):
    """``ttl`` is in milliseconds."""

    path: str | None = ustring()
    data: bytes | None = buffer()
    acl: list[ACL] | None = vector(ACL)
    flags: int = int32()
    ttl: int = int64()


class CreateResponse(Record):
    path: str | None = ustring()


class Create2Response(Record):
    path: str | None = ustring()
    stat: Stat = record(Stat)


class DeleteRequest(Record):
    path: str | None = ustring()
    version: int = int32()


class DeleteContainerRequest(Record):
    """Not in zookeeper.jute: Apache's ``DeleteContainerRequest`` is written by hand."""

    path: str | None = ustring()


# --- a node's data ------------------------------------------------------------------------------------------


class ExistsRequest(Record):
    path: str | None = ustring()
    watch: bool = boolean()


class ExistsResponse(Record):
    stat: Stat = record(Stat)


class GetDataRequest(Record):
    path: str | None = ustring()
    watch: bool = boolean()


class GetDataResponse(Record):
    data: bytes | None = buffer()
    stat: Stat = record(Stat)


class SetDataRequest(Record):
    path: str | None = ustring()
    data: bytes | None = buffer()
    version: int = int32()


class SetDataResponse(Record):
    stat: Stat = record(Stat)


class CheckVersionRequest(Record):
    path: str | None = ustring()
    version: int = int32()


class SyncRequest(Record):
    path: str | None = ustring()


class SyncResponse(Record):
    path: str | None = ustring()


# --- its children -------------------------------------------------------------------------------------------


class GetChildrenRequest(Record):
    path: str | None = ustring()
    watch: bool = boolean()


class GetChildrenResponse(Record):
    children: list[str] | None = vector(ustring())


class GetChildren2Request(Record):
    path: str | None = ustring()
    watch: bool = boolean()


class GetChildren2Response(Record):
    children: list[str] | None = vector(ustring())
    stat: Stat = record(Stat)


class GetAllChildrenNumberRequest(Record):
    path: str | None = ustring()


class GetAllChildrenNumberResponse(Record):
    total_number: int = int32()


class GetEphemeralsRequest(Record):
    prefix_path: str | None = ustring()


class GetEphemeralsResponse(Record):
    ephemerals: list[str] | None = vector(ustring())


class GetMaxChildrenRequest(Record):
    """Declared in zookeeper.jute, with the three below, but no operation of 3.9 uses them."""

    path: str | None = ustring()


class GetMaxChildrenResponse(Record):
    max: int = int32()


class SetMaxChildrenRequest(Record):
    path: str | None = ustring()
    max: int = int32()


# --- permissions and identities -----------------------------------------------------------------------------


class GetACLRequest(Record):
    path: str | None = ustring()


class GetACLResponse(Record):
    acl: list[ACL] | None = vector(ACL)
    stat: Stat = record(Stat)


class SetACLRequest(Record):
    path: str | None = ustring()
    acl: list[ACL] | None = vector(ACL)
    version: int = int32()


class SetACLResponse(Record):
    stat: Stat = record(Stat)


class AuthPacket(Record):
    type: int = int32()
    scheme: str | None = ustring()
    auth: bytes | None = buffer()


class GetSASLRequest(Record):
    token: bytes | None = buffer()


class SetSASLRequest(Record):
    token: bytes | None = buffer()


class SetSASLResponse(Record):
    token: bytes | None = buffer()


class WhoAmIResponse(Record):
    client_info: list[ClientInfo] | None = vector(ClientInfo)


# --- watches ------------------------------------------------------------------------------------------------


class SetWatches(Record):
    relative_zxid: int = int64()
    data_watches: list[str] | None = vector(ustring())
    exist_watches: list[str] | None = vector(ustring())
    child_watches: list[str] | None = vector(ustring())


class SetWatches2(Record):
    relative_zxid: int = int64()
    data_watches: list[str] | None = vector(ustring())
    exist_watches: list[str] | None = vector(ustring())
    child_watches: list[str] | None = vector(ustring())
    persistent_watches: list[str] | None = vector(ustring())
    persistent_recursive_watches: list[str] | None = vector(ustring())


class AddWatchRequest(Record):
    """``mode`` is an AddWatchMode, or anything else."""

    path: str | None = ustring()
    mode: int = int32()


class CheckWatchesRequest(Record):
    """``type`` is a WatcherType, or anything else; so below."""

    path: str | None = ustring()
    type: int = int32()


class RemoveWatchesRequest(Record):
    path: str | None = ustring()
    type: int = int32()


# --- the ensemble -------------------------------------------------------------------------------------------


class ReconfigRequest(Record):
    joining_servers: str | None = ustring()
    leaving_servers: str | None = ustring()
    new_members: str | None = ustring()
    cur_config_id: int = int64()
