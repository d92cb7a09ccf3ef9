"""kazoo's serializers as an independent peer: we read what it writes, and it reads what we write."""

from typing import Any

import pytest
from kazoo.exceptions import NoNodeError, RolledBackError, RuntimeInconsistency
from kazoo.protocol import serialization as kazoo
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import (
    ACL,
    ConnectRequest,
    ConnectResponse,
    Id,
    MultiHeader,
    ReplyHeader,
    Stat,
    WatcherEvent,
    decode_connect_request,
    encode_connect_response,
)
from pyzkserver.wire.requests import (
    OPERATIONS,
    AuthPacket,
    CheckVersionRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    ExistsRequest,
    ExistsResponse,
    GetACLRequest,
    GetACLResponse,
    GetChildren2Request,
    GetChildren2Response,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetSASLRequest,
    MultiOp,
    MultiRequest,
    MultiResponse,
    MultiResult,
    OpCode,
    ReconfigRequest,
    SetACLRequest,
    SetACLResponse,
    SetDataRequest,
    SetDataResponse,
    SetSASLResponse,
    SyncRequest,
    SyncResponse,
)

from .cases import STAT

DIGEST = make_digest_acl("user", "secret", read=True, write=True)
ACLS = [*OPEN_ACL_UNSAFE, DIGEST]
OURS = [ACL(31, Id("world", "anyone")), ACL(3, Id("digest", DIGEST.id.id))]
PATH = "/pâth/日本"


def watcher(event: object) -> None: ...


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (kazoo.Create(PATH, b"data", ACLS, 3), CreateRequest(PATH, b"data", OURS, 3)),
        (kazoo.Create(PATH, None, [], 0), CreateRequest(PATH, None, [], 0)),
        (kazoo.Create2(PATH, b"", ACLS, 1), CreateRequest(PATH, b"", OURS, 1)),
        (kazoo.Delete(PATH, -1), DeleteRequest(PATH, -1)),
        (kazoo.Exists(PATH, watcher), ExistsRequest(PATH, True)),
        (kazoo.Exists(PATH, None), ExistsRequest(PATH, False)),
        (kazoo.GetData(PATH, watcher), GetDataRequest(PATH, True)),
        (kazoo.SetData(PATH, b"\0\xff", 7), SetDataRequest(PATH, b"\0\xff", 7)),
        (kazoo.SetData(PATH, None, 7), SetDataRequest(PATH, None, 7)),
        (kazoo.GetACL(PATH), GetACLRequest(PATH)),
        (kazoo.SetACL(PATH, ACLS, 2), SetACLRequest(PATH, OURS, 2)),
        (kazoo.GetChildren(PATH, watcher), GetChildrenRequest(PATH, True)),
        (kazoo.GetChildren2(PATH, None), GetChildren2Request(PATH, False)),
        (kazoo.Sync(PATH), SyncRequest(PATH)),
        (kazoo.CheckVersion(PATH, 5), CheckVersionRequest(PATH, 5)),
        (kazoo.Reconfig("j", "", "n", -1), ReconfigRequest("j", None, "n", -1)),
        (kazoo.Auth(0, "digest", "user:secret"), AuthPacket(0, "digest", b"user:secret")),
        (kazoo.SASL(b"token"), GetSASLRequest(b"token")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_requests(theirs: Any, ours: Record) -> None:
    raw = bytes(theirs.serialize())
    assert OPERATIONS[theirs.type].request is type(ours)
    assert type(ours).decode_from(raw, 0) == (ours, len(raw))
    assert ours.encode() == raw


@pytest.mark.parametrize(
    ("peer", "ours", "expected"),
    [
        (kazoo.Create, CreateResponse(PATH), PATH),
        (kazoo.Create2, Create2Response(PATH, STAT), (PATH, STAT)),
        (kazoo.Exists, ExistsResponse(STAT), STAT),
        (kazoo.GetData, GetDataResponse(b"data", STAT), (b"data", STAT)),
        (kazoo.GetData, GetDataResponse(None, STAT), (None, STAT)),
        (kazoo.SetData, SetDataResponse(STAT), STAT),
        (kazoo.GetACL, GetACLResponse(OURS, STAT), (ACLS, STAT)),
        (kazoo.SetACL, SetACLResponse(STAT), STAT),
        (kazoo.GetChildren, GetChildrenResponse(["ä", "b"]), ["ä", "b"]),
        (kazoo.GetChildren2, GetChildren2Response(["ä"], STAT), (["ä"], STAT)),
        (kazoo.Sync, SyncResponse(PATH), PATH),
        (kazoo.Reconfig, GetDataResponse(b"server.1", STAT), (b"server.1", STAT)),
        (kazoo.SASL, SetSASLResponse(b"token"), (b"token", 4 + 5 + 6)),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_replies(peer: Any, ours: Record, expected: object) -> None:
    if hasattr(peer, "type"):
        assert OPERATIONS[peer.type].reply is type(ours)
    assert peer.deserialize(b"header" + ours.encode(), 6) == as_kazoo_has_it(expected)


def as_kazoo_has_it(value: object) -> object:
    if isinstance(value, Stat):
        return tuple(getattr(value, name) for name in value.fields)
    return tuple(map(as_kazoo_has_it, value)) if isinstance(value, tuple) else value


def test_stat_has_the_same_fields_in_the_same_places() -> None:
    theirs = kazoo.Exists.deserialize(STAT.encode(), 0)
    ours = {name.replace("_", "").lower(): getattr(STAT, name) for name in STAT.fields}
    assert {name.replace("_", "").lower(): value for name, value in theirs._asdict().items()} == ours


def test_connect() -> None:
    theirs = kazoo.Connect(0, 77, 10000, 0x1234, b"p" * 16, True)
    ours = ConnectRequest(0, 77, 10000, 0x1234, b"p" * 16, True)
    assert decode_connect_request(bytes(theirs.serialize())) == (ours, True)
    assert ours.encode() == theirs.serialize()

    response = ConnectResponse(0, 10000, 0x1234, b"p" * 16, True)
    expected = kazoo.Connect(0, 0, 10000, 0x1234, b"p" * 16, True)
    assert kazoo.Connect.deserialize(encode_connect_response(response, True), 0) == (expected, 37)
    assert kazoo.Connect.deserialize(encode_connect_response(response, False), 0) == (
        expected._replace(read_only=False),
        36,
    )


def test_headers_and_events() -> None:
    assert kazoo.ReplyHeader.deserialize(ReplyHeader(-1, 1 << 40, -101).encode(), 0) == (
        (-1, 1 << 40, -101),
        16,
    )
    assert kazoo.Watch.deserialize(WatcherEvent(3, 3, PATH).encode(), 0)[0] == (3, 3, PATH)
    assert kazoo.MultiHeader.deserialize(MultiHeader(-1, True, -1).encode(), 0) == ((-1, True, -1), 9)
    assert MultiHeader.decode(bytes(kazoo.MultiHeader(1, False, -1).serialize())) == MultiHeader(1, False, -1)


def test_transaction() -> None:
    theirs = kazoo.Transaction(
        [
            kazoo.Create(PATH, b"data", ACLS, 2),
            kazoo.Delete(PATH, -1),
            kazoo.SetData(PATH, b"x", 1),
            kazoo.CheckVersion(PATH, 2),
        ]
    )
    ours = MultiRequest(
        [
            MultiOp(OpCode.CREATE, CreateRequest(PATH, b"data", OURS, 2)),
            MultiOp(OpCode.DELETE, DeleteRequest(PATH, -1)),
            MultiOp(OpCode.SET_DATA, SetDataRequest(PATH, b"x", 1)),
            MultiOp(OpCode.CHECK, CheckVersionRequest(PATH, 2)),
        ]
    )
    assert MultiRequest.decode(bytes(theirs.serialize())) == ours
    assert ours.encode() == theirs.serialize()


def test_the_results_of_a_transaction() -> None:
    good = MultiResponse(
        [
            MultiResult(OpCode.CREATE, 0, CreateResponse(PATH)),
            MultiResult(OpCode.DELETE, 0, None),
            MultiResult(OpCode.SET_DATA, 0, SetDataResponse(STAT)),
            MultiResult(OpCode.CHECK, 0, None),
        ]
    )
    assert kazoo.Transaction.deserialize(good.encode(), 0) == [PATH, True, as_kazoo_has_it(STAT), True]
    bad = MultiResponse([MultiResult(OpCode.ERROR, code, None) for code in (0, -101, -2)])
    results = kazoo.Transaction.deserialize(bad.encode(), 0)
    assert list(map(type, results)) == [RolledBackError, NoNodeError, RuntimeInconsistency]
