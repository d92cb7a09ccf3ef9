"""Sessions: their ids and passwords, and when the time of one is up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.state.sessions import Session, SessionTable, first_session_id, session_password

TICK = 2000

# Printed by Java: new Random(id ^ 0xB3415C00L).nextBytes(new byte[16]).
PASSWORDS = {
    0x0: "f22acd4a97e69d6d20a49bb638eadb38",
    0xB3415C00: "60b420bb3851d9d47acb933dbe70399b",
    0x1016C1B2AE50000: "f113c7a92a356f52b72ad61983e2e612",
    -1: "20f62cb5648dc2d771471c8a2486a9ee",
    -(1 << 63): "f22acd4a97e69d6d20a49bb638eadb38",  # the generator looks at 48 bits only
}


@pytest.mark.parametrize("session_id", PASSWORDS)
def test_passwords_are_those_of_java(session_id: int) -> None:
    """Compatibility fact 4: every member of an ensemble computes the same one from the id alone."""
    assert session_password(session_id).hex() == PASSWORDS[session_id]


def test_ids_begin_with_the_server_and_the_time() -> None:
    """Compatibility fact 4: serverId << 56 | (ms << 24) >>> 8, so that two starts never share ids."""
    assert first_session_id(1, 0x0123456789) == 0x0101_2345_6789_0000
    assert first_session_id(0, 0xFF_FFFF_FFFF) == 0x00FF_FFFF_FFFF_0000
    assert first_session_id(1, 0x5_AB_CDEF_0123) == 0x01AB_CDEF_0123_0000  # what is too large falls off
    assert first_session_id(255, 0) == -(1 << 56)


def test_no_id_is_the_mark_of_containers() -> None:
    """The first id of server 128 at time 0 would be CONTAINER_EPHEMERAL_OWNER."""
    assert first_session_id(128, 0) == -(1 << 63) + 1


def test_ids_count_up_and_stay_those_of_their_server() -> None:
    """They travel as signed 64-bit numbers, whose first byte says who gave them out."""
    table = SessionTable(TICK, 0x0101_2345_6789_0000)
    assert [table.new_id() for _ in range(3)] == [0x0101_2345_6789_0000 + n for n in range(3)]
    table = SessionTable(TICK, (1 << 63) - 1)
    assert [table.new_id(), table.new_id()] == [(1 << 63) - 1, 0x7F << 56]
    table = SessionTable(TICK, -1)
    assert [table.new_id(), table.new_id()] == [-1, -1 << 56]
    table = SessionTable(TICK, (-127 << 56) - 1)
    assert [table.new_id(), table.new_id()] == [(-127 << 56) - 1, (-128 << 56) + 1]


def expired(table: SessionTable, now: int) -> list[int]:
    return [session.id for session in table.take_expired(now)]


@pytest.mark.parametrize(
    ("heard", "timeout", "expires"),
    [
        (40, 4000, 6000),  # the session of 4 s that went after 5.96 s
        (0, 4000, 6000),
        (1999, 4000, 6000),
        (2000, 4000, 8000),
        (0, 3999, 4000),
        (0, 4001, 6000),
        (5, 1, 2000),
    ],
)
def test_expiry_is_rounded_up_to_the_next_tick(heard: int, timeout: int, expires: int) -> None:
    """Compatibility fact 5: always up, so a session lives up to a tick longer than it asked for."""
    table = SessionTable(TICK, 1)
    table.track(7, timeout, heard)
    assert table.next_expiry() == expires
    assert expired(table, expires - 1) == []
    assert expired(table, expires) == [7]


def test_a_session_expires_once() -> None:
    """It is marked as closing and waits for its close; nobody takes it a second time."""
    table = SessionTable(TICK, 1)
    session = table.track(7, 4000, 0)
    assert table.take_expired(100_000) == [session]
    assert session.closing
    assert table.take_expired(100_000) == []
    assert table.next_expiry() is None
    assert table.by_id == {7: session}


def test_sessions_expire_in_the_order_of_their_ticks() -> None:
    """Whoever looks late finds all of them, the earliest first, those of one tick as they came."""
    table = SessionTable(TICK, 1)
    for session_id, timeout in ((1, 9000), (2, 4000), (3, 4500), (4, 20_000)):
        table.track(session_id, timeout, 0)
    assert table.next_expiry() == 6000
    assert expired(table, 12_000) == [2, 3, 1]
    assert table.next_expiry() == 22_000


def test_a_touch_puts_the_expiry_off() -> None:
    """Any packet renews the session, in the table of deadlines as well."""
    table = SessionTable(TICK, 1)
    session = table.track(7, 4000, 0)
    table.touch(session, 1999)
    assert table.next_expiry() == 6000
    table.touch(session, 2000)
    assert table.next_expiry() == 8000
    assert expired(table, 7999) == []
    assert list(table.deadlines) == [4]


def test_a_shorter_timeout_counts_from_the_next_touch() -> None:
    """A client that comes back may have asked for less (compatibility fact 40)."""
    table = SessionTable(TICK, 1)
    session = table.track(7, 40_000, 0)
    session.timeout = 4000
    table.touch(session, 100)
    assert table.next_expiry() == 6000


def test_tracking_a_known_session_renews_it() -> None:
    """It stays the session that it was."""
    table = SessionTable(TICK, 1)
    session = table.track(7, 4000, 0)
    assert table.track(7, 60_000, 3000) is session
    assert session.timeout == 4000
    assert table.next_expiry() == 8000
    assert len(table) == 1


def test_a_removed_session_leaves_nothing_behind() -> None:
    """Neither in the table nor in its bucket; removing it again does nothing."""
    table = SessionTable(TICK, 1)
    first, second = table.track(1, 4000, 0), table.track(2, 4000, 0)
    assert table.remove(1) is first
    assert table.remove(1) is None
    assert expired(table, 100_000) == [second.id]
    table.remove(2)
    assert len(table) == 0
    assert not table.deadlines


def test_an_expired_session_can_be_removed() -> None:
    """Its close removes it although it is in no bucket any more."""
    table = SessionTable(TICK, 1)
    table.track(1, 4000, 0)
    table.take_expired(100_000)
    assert table.remove(1) is not None
    assert len(table) == 0


def test_the_sessions_of_a_data_directory_live_on() -> None:
    """Each has its whole timeout from the start of the server, for its client to come back in."""
    table = SessionTable(TICK, 1)
    table.recover({7: 4000, 8: 20_000}, owners=[7], now=1_000_040)
    assert {session.id: (session.timeout, session.closing) for session in table.by_id.values()} == {
        7: (4000, False),
        8: (20_000, False),
    }
    assert expired(table, 1_005_999) == []
    assert expired(table, 1_006_000) == [7]


def test_who_only_left_nodes_behind_is_closed_at_the_next_tick() -> None:
    """ZooKeeperServer.loadData kills such sessions; TTL nodes, whose owners begin with 0xff, have none."""
    table = SessionTable(TICK, 1)
    table.recover({}, owners=[9, -(1 << 56) | 1000], now=40)
    assert list(table.by_id) == [9]
    assert table.by_id[9].closing
    assert expired(table, 2000) == [9]


def test_no_recovered_sessions_id_is_given_out_again() -> None:
    """Although the clock was set back; ids that another server gave out do not count."""
    mine, others = 0x0101_2345_6789_0000, 0x0201_2345_6789_0000
    table = SessionTable(TICK, mine)
    table.recover({mine + 5: 4000, others: 4000}, owners=[mine + 7], now=0)
    assert table.new_id() == mine + 8
    table = SessionTable(TICK, mine)
    table.recover({mine - 5: 4000, others: 4000}, owners=[], now=0)
    assert table.new_id() == mine


def test_no_known_sessions_id_is_given_out() -> None:
    """One that became known later, by a transaction of the time before, whether it lives or has ended."""
    mine = 0x0101_2345_6789_0000
    table = SessionTable(TICK, mine)
    table.track(mine + 5, 4000, 0)
    table.remove(mine + 5)
    assert table.new_id() == mine + 6
    # After the last id comes the first, and that may be a living session's.
    table = SessionTable(TICK, 0x01FF_FFFF_FFFF_FFFF)
    table.track(0x0100_0000_0000_0000, 4000, 0)
    assert [table.new_id(), table.new_id()] == [0x01FF_FFFF_FFFF_FFFF, 0x0100_0000_0000_0001]


def test_a_clock_that_was_set_back_brings_no_ended_sessions_id_back() -> None:
    """Its client would be given somebody else's session: ids begin after the time of the newest transaction."""
    earlier, now = 0x5_AB_CDEF_0123, 0x5_AB_CDEE_0000
    table = SessionTable(TICK, first_session_id(1, earlier))
    ended = [table.new_id() for _ in range(1000)]
    table = SessionTable(TICK, first_session_id(1, now))
    table.recover({}, owners=[], now=0, newest_ms=earlier)
    assert table.new_id() > max(ended)


def test_sessions_are_shown_as_apache_logs_them() -> None:
    """In hexadecimal, as an unsigned number."""
    assert repr(Session(-1, 4000)) == "0xffffffffffffffff"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(["track", "touch", "remove", "expire"]), st.integers(0, 7000)
        ),
        max_size=40,
    )
)
def test_buckets_agree_with_a_slow_oracle(steps: list[tuple[int, str, int]]) -> None:
    """Whatever happens to sessions, those expire whose own deadline has come, and no others."""
    table = SessionTable(TICK, 1)
    deadlines: dict[int, int] = {}
    now = 0
    for session_id, step, pause in steps:
        now += pause
        deadline = ((now + 1000 * session_id) // TICK + 1) * TICK
        if step == "track" and session_id not in table.by_id:
            table.track(session_id, 1000 * session_id, now)
            deadlines[session_id] = deadline
        elif step == "touch" and session_id in deadlines:
            table.touch(table.by_id[session_id], now)
            deadlines[session_id] = deadline
        elif step == "remove":
            table.remove(session_id)
            deadlines.pop(session_id, None)
        elif step == "expire":
            due = {session_id for session_id, deadline in deadlines.items() if deadline <= now}
            assert set(expired(table, now)) == due
            for session_id in due:
                del deadlines[session_id]
        assert table.next_expiry() == min(deadlines.values(), default=None)
