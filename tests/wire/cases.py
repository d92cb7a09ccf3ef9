"""One value of every record, and its bytes put together by hand.  Drives encoding and decoding alike."""

from struct import pack

from pyzkserver.wire import proto, records, txns
from pyzkserver.wire.jute import Record
from pyzkserver.wire.proto import (
    AddWatchRequest,
    AuthPacket,
    CheckVersionRequest,
    CheckWatchesRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    ExistsRequest,
    ExistsResponse,
    GetACLRequest,
    GetACLResponse,
    GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse,
    GetChildren2Request,
    GetChildren2Response,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    GetEphemeralsResponse,
    GetMaxChildrenRequest,
    GetMaxChildrenResponse,
    GetSASLRequest,
    ReconfigRequest,
    RemoveWatchesRequest,
    SetACLRequest,
    SetACLResponse,
    SetDataRequest,
    SetDataResponse,
    SetMaxChildrenRequest,
    SetSASLRequest,
    SetSASLResponse,
    SetWatches,
    SetWatches2,
    SyncRequest,
    SyncResponse,
    WhoAmIResponse,
)
from pyzkserver.wire.records import (
    ACL,
    ClientInfo,
    ConnectRequest,
    ConnectResponse,
    ErrorResponse,
    Id,
    MultiHeader,
    ReplyHeader,
    RequestHeader,
    Stat,
    StatPersisted,
    WatcherEvent,
)
from pyzkserver.wire.txns import (
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    CreateTxnV0,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    SetMaxChildrenTxn,
    Txn,
    TxnDigest,
    TxnHeader,
)


def i(number: int) -> bytes:
    return pack(">i", number)


def q(number: int) -> bytes:
    return pack(">q", number)


def s(text: str) -> bytes:
    return i(len(text)) + text.encode("ascii")


NULL = b"\xff\xff\xff\xff"
YES, NO = b"\x01", b"\x00"

ANYONE = ACL(31, Id("world", "anyone"))
READER = ACL(1, Id("ip", "10.0.0.1"))
_ANYONE = b"\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone"
_READER = i(1) + s("ip") + s("10.0.0.1")

STAT = Stat(1, 2, 1700000000000, 4, 5, -1, 7, 0x100000000000008, 9, 10, 1 << 62)
_STAT = q(1) + q(2) + q(1700000000000) + q(4) + i(5) + i(-1) + i(7) + q(0x100000000000008) + i(9) + i(10)
_STAT += q(1 << 62)

CASES: list[tuple[Record, bytes]] = [
    # data
    (Id("digest", "u:h"), s("digest") + s("u:h")),
    (Id(None, ""), NULL + i(0)),
    (ANYONE, _ANYONE),
    (STAT, _STAT),
    (StatPersisted(1, 2, 3, 4, 5, 6, 7, 8, 9), q(1) + q(2) + q(3) + q(4) + i(5) + i(6) + i(7) + q(8) + q(9)),
    (ClientInfo("ip", "::1"), s("ip") + s("::1")),
    # framing a conversation
    (
        ConnectRequest(0, -1, 30000, -2, b"0123456789abcdef", True),
        i(0) + q(-1) + i(30000) + q(-2) + i(16) + b"0123456789abcdef" + YES,
    ),
    (ConnectResponse(0, 4000, 5, b"pw", False), i(0) + i(4000) + q(5) + i(2) + b"pw" + NO),
    (RequestHeader(-2, 11), i(-2) + i(11)),
    (ReplyHeader(7, 0x1_0000_0001, -101), i(7) + q(0x1_0000_0001) + i(-101)),
    (MultiHeader(-1, True, -1), NULL + YES + NULL),
    (ErrorResponse(-110), i(-110)),
    (WatcherEvent(3, 3, "/a"), i(3) + i(3) + s("/a")),
    # requests and replies
    (CreateRequest("/a", b"xy", [ANYONE], 1), s("/a") + i(2) + b"xy" + i(1) + _ANYONE + i(1)),
    (CreateRequest("/a", b"", [ANYONE, READER], 0), s("/a") + i(0) + i(2) + _ANYONE + _READER + i(0)),
    (CreateRequest(None, None, None, 0), NULL + NULL + NULL + i(0)),
    (CreateRequest("", None, [], 0), i(0) + NULL + i(0) + i(0)),
    (
        CreateTTLRequest("/a", None, [ANYONE], 5, 1099511627775),
        s("/a") + NULL + i(1) + _ANYONE + i(5) + q(1099511627775),
    ),
    (CreateResponse("/a0000000001"), s("/a0000000001")),
    (Create2Response("/a", STAT), s("/a") + _STAT),
    (DeleteRequest("/a", -1), s("/a") + i(-1)),
    (DeleteContainerRequest("/a"), s("/a")),
    (ExistsRequest("/a", True), s("/a") + YES),
    (ExistsResponse(STAT), _STAT),
    (GetDataRequest("/a", False), s("/a") + NO),
    (GetDataResponse(b"\x00\xff", STAT), i(2) + b"\x00\xff" + _STAT),
    (GetDataResponse(None, STAT), NULL + _STAT),
    (SetDataRequest("/a", b"v", 3), s("/a") + i(1) + b"v" + i(3)),
    (SetDataResponse(STAT), _STAT),
    (CheckVersionRequest("/a", 4), s("/a") + i(4)),
    (SyncRequest("/a"), s("/a")),
    (SyncResponse("/a"), s("/a")),
    (GetChildrenRequest("/", True), s("/") + YES),
    (GetChildrenResponse(["b", "", "zookeeper"]), i(3) + s("b") + s("") + s("zookeeper")),
    (GetChildrenResponse([]), i(0)),
    (GetChildrenResponse(None), NULL),
    (GetChildren2Request("/", False), s("/") + NO),
    (GetChildren2Response(["b"], STAT), i(1) + s("b") + _STAT),
    (GetAllChildrenNumberRequest("/"), s("/")),
    (GetAllChildrenNumberResponse(12), i(12)),
    (GetEphemeralsRequest(None), NULL),
    (GetEphemeralsResponse(["/e"]), i(1) + s("/e")),
    (GetMaxChildrenRequest("/"), s("/")),
    (GetMaxChildrenResponse(3), i(3)),
    (SetMaxChildrenRequest("/", 3), s("/") + i(3)),
    (GetACLRequest("/a"), s("/a")),
    (GetACLResponse([READER], STAT), i(1) + _READER + _STAT),
    (SetACLRequest("/a", [READER], 2), s("/a") + i(1) + _READER + i(2)),
    (SetACLResponse(STAT), _STAT),
    (AuthPacket(0, "digest", b"u:p"), i(0) + s("digest") + s("u:p")),
    (GetSASLRequest(b"t"), s("t")),
    (SetSASLRequest(b"t"), s("t")),
    (SetSASLResponse(None), NULL),
    (WhoAmIResponse([ClientInfo("ip", "::1")]), i(1) + s("ip") + s("::1")),
    (SetWatches(9, ["/d"], ["/e", "/f"], []), q(9) + i(1) + s("/d") + i(2) + s("/e") + s("/f") + i(0)),
    (
        SetWatches2(9, ["/d"], [], ["/c"], ["/p"], ["/r", "/s"]),
        q(9) + i(1) + s("/d") + i(0) + i(1) + s("/c") + i(1) + s("/p") + i(2) + s("/r") + s("/s"),
    ),
    (AddWatchRequest("/a", 1), s("/a") + i(1)),
    (CheckWatchesRequest("/a", 2), s("/a") + i(2)),
    (RemoveWatchesRequest("/a", 3), s("/a") + i(3)),
    (ReconfigRequest("j", None, "n", -1), s("j") + NULL + s("n") + q(-1)),
    # transactions
    (TxnHeader(-5, 6, 7, 1700000000000, 1), q(-5) + i(6) + q(7) + q(1700000000000) + i(1)),
    (TxnDigest(2, -(1 << 63)), i(2) + q(-(1 << 63))),
    (CreateTxnV0("/a", b"d", [ANYONE], True), s("/a") + s("d") + i(1) + _ANYONE + YES),
    (CreateTxn("/a", b"d", [ANYONE], False, 3), s("/a") + s("d") + i(1) + _ANYONE + NO + i(3)),
    (CreateTTLTxn("/a", b"d", [ANYONE], 3, 60000), s("/a") + s("d") + i(1) + _ANYONE + i(3) + q(60000)),
    (CreateContainerTxn("/a", b"d", [ANYONE], 3), s("/a") + s("d") + i(1) + _ANYONE + i(3)),
    (DeleteTxn("/a"), s("/a")),
    (SetDataTxn("/a", None, 8), s("/a") + NULL + i(8)),
    (CheckVersionTxn("/a", 8), s("/a") + i(8)),
    (SetACLTxn("/a", [READER], 8), s("/a") + i(1) + _READER + i(8)),
    (SetMaxChildrenTxn("/a", 8), s("/a") + i(8)),
    (CreateSessionTxn(30000), i(30000)),
    (CloseSessionTxn(["/e", "/f"]), i(2) + s("/e") + s("/f")),
    (ErrorTxn(-110), i(-110)),
    (Txn(2, b"body"), i(2) + s("body")),
    (MultiTxn([Txn(2, b"x"), Txn(-1, b"")]), i(2) + i(2) + s("x") + i(-1) + i(0)),
]

RECORDS: list[type[Record]] = [
    value
    for module in (records, proto, txns)
    for value in vars(module).values()
    if isinstance(value, type)
    and issubclass(value, Record)
    and value.fields
    and value.__module__ == module.__name__
]
