"""The path of a write: judged, logged, durable, applied, told, answered; with a log that can wait."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.errors import ErrorCode
from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.state.judging import Rules
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.txnlog import NullLog
from pyzkserver.wire.requests import DeleteRequest, OpCode
from pyzkserver.wire.txns import CloseSessionTxn, CreateSessionTxn, CreateTxn, ErrorTxn

from .helpers import (
    CLOSE,
    EPHEMERAL,
    SEQUENTIAL,
    SERVER_ID,
    TICK,
    Ask,
    Client,
    HeldLog,
    House,
    StillHost,
    create,
    delete,
    multi,
    set_data,
)


def fill(house: House, *asks: Ask) -> None:
    """Do these before the test begins; they use up zxids from 1."""
    client = house.client()
    for ask in asks:
        client.write(ask)
    house.flush()
    assert all(err == 0 for _, err, _ in client.heard())


def test_nothing_is_shown_before_it_is_durable() -> None:
    """A read must never see what a crash could undo, and no watch may tell of it."""
    house = House()
    fill(house, create("/a", b"old"))
    writer, other = house.client(), house.client()
    other.watch("/a")
    writer.write(set_data("/a", b"new"))
    other.read("/a")
    assert writer.heard() == []
    assert other.heard() == [("/a", b"old")]
    house.flush()
    other.read("/a")
    assert writer.heard() == [(1, 0, 2)]
    assert other.heard() == [("NODE_DATA_CHANGED", "/a"), ("/a", b"new")]


def test_a_clients_read_waits_behind_its_own_write() -> None:
    """It sees its write, and is answered after it."""
    house = House()
    client = house.client()
    client.read("/a")
    client.write(create("/a", b"1"))
    client.read("/a")
    assert client.heard() == [("/a", None)]
    house.flush()
    assert client.heard() == [(1, 0, 1), ("/a", b"1")]
    client.read("/a")
    assert client.heard() == [("/a", b"1")]


def test_replies_are_in_the_order_of_the_requests() -> None:
    """A read between two writes of one batch sees the first and not the second."""
    house = House()
    client = house.client()
    client.write(create("/a", b"1"))
    client.read("/a")
    client.write(set_data("/a", b"2"))
    client.write(set_data("/a", b"3"))
    client.read("/a")
    client.read("/b")
    client.write(delete("/a"))
    client.read("/a")
    house.flush()
    assert client.heard() == [
        (1, 0, 1),
        ("/a", b"1"),
        (2, 0, 2),
        (3, 0, 3),
        ("/a", b"3"),
        ("/b", None),
        (4, 0, 4),
        ("/a", None),
    ]


def test_one_clients_read_does_not_wait_for_anothers_write() -> None:
    """The order is that of each client alone."""
    house = House()
    writer, reader = house.client(), house.client()
    writer.write(create("/a"))
    reader.read("/a")
    assert reader.heard() == [("/a", None)]


def test_a_watcher_hears_of_a_write_before_its_writer_does() -> None:
    """Compatibility fact 28: also where both are one client, and of a multi all events come first."""
    house = House()
    client = house.client()
    for path in ("/a", "/b"):
        client.watch(path)
    client.write(multi(create("/a"), create("/b")))
    client.read("/b")
    house.flush()
    assert client.heard() == [("NODE_CREATED", "/a"), ("NODE_CREATED", "/b"), (1, 0, 1), ("/b", b"")]


def test_writes_are_judged_with_those_in_flight() -> None:
    """They need not wait for each other's flush, whoever sent them."""
    house = House()
    first, second = house.client(), house.client()
    first.write(create("/a"))
    second.write(create("/a"))
    second.write(create("/a/s-", flags=SEQUENTIAL))
    first.write(create("/a/s-", flags=SEQUENTIAL))
    first.write(delete("/a"))
    assert house.paths() == set()
    house.flush()
    assert house.paths() == {"/a", "/a/s-0000000000", "/a/s-0000000001"}
    assert first.heard() == [(1, 0, 1), (2, 0, 4), (3, ErrorCode.NOT_EMPTY, 5)]
    assert second.heard() == [(1, ErrorCode.NODE_EXISTS, 2), (2, 0, 3)]


def test_one_flush_commits_a_batch() -> None:
    """Of any number of writes of any number of clients, in the order of their zxids."""
    house = House()
    clients = [house.client() for _ in range(5)]
    for number in range(50):
        clients[number % 5].write(create(f"/{number}"))
    assert len(house.replica.in_flight) == 50
    house.flush()
    assert len(house.replica.in_flight) == 0
    assert len(house.paths()) == 50
    assert [zxid for client in clients for _, _, zxid in client.heard()] == [
        zxid for client in range(5) for zxid in range(client + 1, 51, 5)
    ]


def test_a_flush_commits_what_it_reached_and_no_more() -> None:
    """And what is told twice, or was never proposed, does nothing."""
    house = House()
    client = house.client()
    for number in range(4):
        client.write(create(f"/{number}"))
    house.flush(2)
    assert house.paths() == {"/0", "/1"}
    house.log.durable(2)
    house.log.durable(1)
    assert [cxid for cxid, _, _ in client.heard()] == [1, 2]
    house.log.durable(99)
    assert [cxid for cxid, _, _ in client.heard()] == [3, 4]
    house.log.durable(99)
    assert house.tree.last_zxid == house.replica.last_proposed == 4


def test_every_write_uses_up_a_zxid() -> None:
    """Compatibility facts 8 and 50: failed ones too; each is answered with its own."""
    house = House()
    client = house.client()
    for ask in (create("/a"), create("/a"), multi(), multi(delete("/b")), (OpCode.MULTI, None), CLOSE):
        client.write(ask)
    house.flush()
    heard = client.heard()
    assert [zxid for _, _, zxid in heard] == [1, 2, 3, 4, 5, 6]
    assert [err for _, err, _ in heard] == [0, ErrorCode.NODE_EXISTS, 0, 0, ErrorCode.MARSHALLING_ERROR, 0]


def test_a_refusal_is_held_back_as_well() -> None:
    """It may rest on what is not durable yet, and its place in the order is in the log."""
    house = House()
    client = house.client()
    client.write(create("/a"))
    client.write(create("/a"))
    house.flush(1)
    assert client.heard() == [(1, 0, 1)]
    house.flush(1)
    assert client.heard() == [(2, ErrorCode.NODE_EXISTS, 2)]


def test_what_the_log_gets() -> None:
    """Who asked, under which zxid and when; of a refused request the error."""
    house = House()
    client = house.client()
    client.write(create("/a", b"x"))
    house.host.now += 5  # type: ignore[attr-defined]
    client.write(delete("/b"))
    (created, _), (refused, _) = house.log.appended
    assert (created.session_id, created.cxid, created.zxid, created.time) == (
        client.session_id,
        1,
        1,
        1_000_040,
    )
    assert isinstance(created.body, CreateTxn)
    assert (created.op, created.body.path) == (OpCode.CREATE, "/a")
    assert (refused.op, refused.body, refused.time) == (OpCode.ERROR, ErrorTxn(ErrorCode.NO_NODE), 1_000_045)


def test_the_log_gets_the_digest_that_the_tree_will_have() -> None:
    """For the last transaction of each group, when the group is handed to the disk.  Apache's server compares it."""
    house = House()
    house.replica.pending.keep_digest()
    client = house.client()
    digests = []
    for ask in (create("/a"), multi(set_data("/a", b"1"), create("/a/b")), create("/a"), CLOSE):
        client.write(ask)
        digests.append(house.log.digest())
    for digest in digests:
        house.flush(1)
        assert digest == house.tree.digest.value()


def test_every_128th_transaction_has_a_digest_of_its_own() -> None:
    """However large the groups are: the word hash tells those of these zxids (``DataTree.DIGEST_LOG_INTERVAL``)."""
    house = House()
    house.replica.pending.keep_digest()
    client = house.client()
    for number in range(300):
        client.write(create(f"/{number}") if number % 3 else set_data("/", b"%d" % number))
    assert [txn.zxid for txn, digest in house.log.appended if digest is not None] == [128, 256]
    house.flush()
    assert list(house.tree.digest.log) == [
        (txn.zxid, digest) for txn, digest in house.log.appended if digest is not None
    ]
    prompt = House(held=False)
    client = prompt.client()
    for number in range(300):
        client.write(create(f"/{number}") if number % 3 else set_data("/", b"%d" % number))
    assert list(house.tree.digest.log) == list(prompt.tree.digest.log)


def test_a_transaction_is_logged_before_it_is_applied() -> None:
    """Also where the log keeps nothing: a log that fails must not leave a changed tree behind."""

    class Failing(NullLog):
        def append(self, txn: Transaction, digest: int | None = None) -> None:
            raise OSError("no space left on device")

    house = House(held=False)
    house.replica.log = Failing()
    client = house.client()
    with pytest.raises(OSError, match="no space"):
        client.write(create("/a"))
    assert (house.paths(), client.heard()) == (set(), [])


# sessions


def test_a_close_takes_creates_that_are_in_flight_with_it() -> None:
    """Compatibility fact 6: whether they were judged before the close or come after it."""
    house = House()
    client, other = house.client(), house.client()
    client.write(create("/e", flags=EPHEMERAL))
    closing = client.write(CLOSE)
    client.write(create("/late", flags=EPHEMERAL))
    other.write(create("/e", b"another's"))
    assert closing.txn is not None
    assert closing.txn.body == CloseSessionTxn(["/e"])
    house.flush()
    assert client.heard() == [(1, 0, 1), (2, 0, 2), (3, ErrorCode.SESSION_EXPIRED, 3)]
    assert house.paths() == {"/e"}
    assert house.tree.nodes["/e"].data == b"another's"


def test_a_session_is_forgotten_when_its_close_is_applied() -> None:
    """Until then it is known, as one that is closing."""
    house = House()
    client = house.client()
    client.write(CLOSE)
    session = house.replica.sessions.by_id[client.session_id]
    assert session.closing
    assert client.ended == 0
    house.flush()
    assert client.session_id not in house.replica.sessions.by_id
    assert house.replica.sessions.next_expiry() is None


def test_whoever_holds_a_session_is_told_of_its_end_after_all_else() -> None:
    """One that another closed: the events of its ephemerals come before, and it is told once."""
    house = House()
    client = house.client()
    client.write(create("/e", flags=EPHEMERAL))
    house.flush()
    client.watch("/e")
    house.replica.submit(Proposal(OpCode.CLOSE_SESSION, None, client.session_id))
    assert client.ended == 0
    house.flush()
    assert client.ended == 1
    assert client.heard() == [(1, 0, 1), ("NODE_DELETED", "/e")]


def test_a_connection_that_let_go_of_its_session_is_not_told() -> None:
    """It answered the close itself, and closes in its own time."""
    house = House()
    client = house.client()

    def let_go(proposal: Proposal, applied: Any) -> None:
        session.owner = None

    session = house.replica.sessions.by_id[client.session_id]
    client.committed = let_go  # type: ignore[method-assign]
    client.write(CLOSE)
    house.flush()
    assert client.ended == 0


def test_closing_an_unknown_session_does_no_harm() -> None:
    """It may have expired meanwhile."""
    house = House()
    client = house.client()
    house.replica.submit(Proposal(OpCode.CLOSE_SESSION, None, 12345, 1, (), None))
    client.write(create("/a"))
    house.flush()
    assert client.heard() == [(1, 0, 2)]


def test_a_created_session_is_tracked_from_then_on() -> None:
    """One that is known already, because its connection waits for it, keeps its time."""
    house = House()
    waiting = house.client(timeout=4000)
    for session_id in (waiting.session_id, 777):
        house.replica.submit(Proposal(OpCode.CREATE_SESSION, CreateSessionTxn(9000), session_id))
    assert 777 not in house.replica.sessions.by_id
    house.flush()
    sessions = house.replica.sessions.by_id
    assert (sessions[waiting.session_id].timeout, sessions[777].timeout) == (4000, 9000)
    assert house.replica.sessions.next_expiry() == 6000
    assert house.tree.last_zxid == 2


def test_session_ids_begin_with_the_server_and_its_clock() -> None:
    """So that no two servers, and no two starts of one, give out the same."""
    house = House()
    assert house.client().session_id == SERVER_ID << 56 | 1_000_040 << 16


# what must not happen


def test_a_request_that_cannot_be_judged_costs_its_client_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of ours harms nobody else, and leaves nothing of a multi behind."""
    house = House()
    client, other = house.client(), house.client()
    broken: Ask = (OpCode.CREATE, DeleteRequest("/x", -1))
    with caplog.at_level(logging.CRITICAL + 1):
        client.write(broken)
        client.write(multi(create("/a"), broken))
    other.write(create("/a"))
    house.flush()
    assert [err for _, err, _ in client.heard()] == [ErrorCode.SYSTEM_ERROR] * 2
    assert other.heard() == [(1, 0, 3)]
    assert not house.replica.pending.latest


def test_a_replica_without_a_role_answers_nobody() -> None:
    """Who decides has to be settled first."""
    tree = DataTree()
    replica = Replica(tree, Rules(), HeldLog(), StillHost(), tick_time=TICK, server_id=SERVER_ID)
    with pytest.raises(RuntimeError):
        replica.submit(Proposal(OpCode.CREATE, None, 1))
    assert replica.last_proposed == 0


def test_zxids_go_on_from_what_the_tree_holds() -> None:
    """A tree that was read from disk has a past."""
    tree = DataTree()
    tree.last_zxid = 0x5_0000_0007
    replica = Replica(tree, Rules(), NullLog(), StillHost(), tick_time=TICK, server_id=SERVER_ID)
    assert replica.last_proposed == 0x5_0000_0007


# the same conversation, whether the log waits or not

NAMES = st.sampled_from(["", "/x", "/x/y"])
ASKS = st.one_of(
    st.tuples(st.just("create"), NAMES, st.sampled_from([0, EPHEMERAL, SEQUENTIAL])),
    st.tuples(st.just("set"), NAMES, st.just(0)),
    st.tuples(st.just("delete"), NAMES, st.just(0)),
    st.tuples(st.just("multi"), NAMES, st.sampled_from([0, EPHEMERAL, SEQUENTIAL])),
    st.tuples(st.just("read"), NAMES, st.just(0)),
    st.tuples(st.just("watch"), NAMES, st.just(0)),
    st.tuples(st.just("close"), NAMES, st.just(0)),
)
CONVERSATION = st.lists(st.tuples(st.integers(0, 2), ASKS, st.integers(0, 3)), min_size=8, max_size=40)


def say(client: Client, root: str, what: str, name: str, flags: int, number: int) -> None:
    path = root + name
    data = str(number).encode()
    if what == "read":
        client.read(path)
    elif what == "watch":
        # Where it comes in the conversation must not depend on the log, so it waits its turn as a read does.
        client.lane.wait(lambda: client.watch(path)) if client.lane else client.watch(path)
    else:
        client.write(
            {
                "create": create(path, data, flags),
                "set": set_data(path, data),
                "delete": delete(path),
                "multi": multi(create(path + "/m-", data, flags), set_data(path, data)),
                "close": CLOSE,
            }[what]
        )


@given(CONVERSATION)
def test_a_conversation_goes_alike_whether_or_not_the_log_waits(
    conversation: list[tuple[int, tuple[str, str, int], int]],
) -> None:
    """Clients that keep to nodes of their own cannot tell when a flush comes."""
    houses = [House(held=False), House()]
    tellings = []
    for house in houses:
        clients = [house.client() for _ in range(3)]
        closed: set[int] = set()
        for number, (who, (what, name, flags), flushed) in enumerate(conversation):
            if who in closed:
                continue
            closed |= {who} if what == "close" else set()
            say(clients[who], f"/{who}", what, name, flags, number)
            house.flush(flushed)
        house.flush()
        tellings.append([client.heard() for client in clients])
    assert tellings[0] == tellings[1]
    stats = [{path: node.stat() for path, node in house.tree.nodes.items()} for house in houses]
    assert stats[0] == stats[1]
    assert not houses[1].replica.in_flight
