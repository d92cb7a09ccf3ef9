"""The table of operations."""

from pyzkserver.wire.requests import OPERATIONS, OpCode
from pyzkserver.wire.txns import TXN_BODIES

from .cases import RECORDS


def test_every_opcode_is_in_the_table_but_those_that_nobody_asks_for() -> None:
    assert set(OPERATIONS) == set(OpCode) - {OpCode.NOTIFICATION, OpCode.ERROR}
    assert all(operation.op == number for number, operation in OPERATIONS.items())


def test_what_is_a_write() -> None:
    writes = {operation.op for operation in OPERATIONS.values() if operation.write}
    assert writes == {
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.DELETE,
        OpCode.DELETE_CONTAINER,
        OpCode.SET_DATA,
        OpCode.SET_ACL,
        OpCode.CHECK,
        OpCode.MULTI,
        OpCode.RECONFIG,
        OpCode.CREATE_SESSION,
        OpCode.CLOSE_SESSION,
    }


def test_every_write_has_a_transaction() -> None:
    writes = {number for number, operation in OPERATIONS.items() if operation.write}
    assert set(TXN_BODIES) == writes | {OpCode.ERROR}


def test_requests_and_replies_carry_their_operations_names() -> None:
    odd = {"GetSASLRequest": "SASL", "AuthPacket": "AUTH", "CheckVersionRequest": "CHECK"}
    odd |= {"SetWatches": "SET_WATCHES", "SetWatches2": "SET_WATCHES2"}
    named = {op.name.replace("_", "").lower() + "request": op for op in OpCode}
    for operation in OPERATIONS.values():
        if operation.request is None or operation.request not in RECORDS:
            continue
        name = operation.request.__name__
        expected = OpCode[odd[name]] if name in odd else named[name.lower()]
        if operation.op not in (OpCode.CREATE2, OpCode.CREATE_CONTAINER):
            assert operation.op == expected


def test_opcodes_are_apaches() -> None:
    assert {op.name: int(op) for op in OpCode} == {
        "NOTIFICATION": 0,
        "CREATE": 1,
        "DELETE": 2,
        "EXISTS": 3,
        "GET_DATA": 4,
        "SET_DATA": 5,
        "GET_ACL": 6,
        "SET_ACL": 7,
        "GET_CHILDREN": 8,
        "SYNC": 9,
        "PING": 11,
        "GET_CHILDREN2": 12,
        "CHECK": 13,
        "MULTI": 14,
        "CREATE2": 15,
        "RECONFIG": 16,
        "CHECK_WATCHES": 17,
        "REMOVE_WATCHES": 18,
        "CREATE_CONTAINER": 19,
        "DELETE_CONTAINER": 20,
        "CREATE_TTL": 21,
        "MULTI_READ": 22,
        "AUTH": 100,
        "SET_WATCHES": 101,
        "SASL": 102,
        "GET_EPHEMERALS": 103,
        "GET_ALL_CHILDREN_NUMBER": 104,
        "SET_WATCHES2": 105,
        "ADD_WATCH": 106,
        "WHO_AM_I": 107,
        "CREATE_SESSION": -10,
        "CLOSE_SESSION": -11,
        "ERROR": -1,
    }
