"""The words that list what is there: dump, wchs, wchc, wchp, hash."""

import pytest
from kazoo.protocol import serialization as kazoo

from .words import Server


@pytest.fixture
def server() -> Server:
    return Server()


# dump


def test_dump_of_an_empty_server(server: Server) -> None:
    assert server.ask("dump") == (
        "SessionTracker dump:\n"
        "Session Sets (0)/(0):\n"
        "ephemeral nodes dump:\n"
        "Sessions with Ephemerals (0):\n"
        "Connections dump:\n"
        "Connections Sets (1)/(1):\n"
        "1 expire at Tue Nov 14 22:14:20 UTC 2023:\n"  # 10 s after it came
        "\tip: /127.0.0.1:40000 sessionId: 0x0\n"
    )


def test_dump_tells_who_expires_when_and_whose_the_ephemerals_are(server: Server) -> None:
    first, second = server.client().shake_hands(5_000), server.client().shake_hands(5_000)
    third = server.client().shake_hands(30_000)
    first.create("/b", b"", 1)
    first.create("/a", b"", 1)
    third.create("/c", b"", 1)
    assert server.ask("dump") == (
        "SessionTracker dump:\n"
        "Session Sets (2)/(3):\n"
        # 50 + 5 s, rounded up to a tick, and 50 + 30 s
        f"2 expire at Tue Nov 14 22:14:16 UTC 2023:\n\t{first.sid}\n\t{second.sid}\n"
        f"1 expire at Tue Nov 14 22:14:42 UTC 2023:\n\t{third.sid}\n"
        "ephemeral nodes dump:\n"
        "Sessions with Ephemerals (2):\n"
        f"{first.sid}:\n\t/b\n\t/a\n"
        f"{third.sid}:\n\t/c\n"
        "Connections dump:\n"
        "Connections Sets (3)/(4):\n"
        "2 expire at Tue Nov 14 22:14:16 UTC 2023:\n"
        f"\tip: /127.0.0.1:40000 sessionId: {first.sid}\n"
        f"\tip: /127.0.0.1:40001 sessionId: {second.sid}\n"
        "1 expire at Tue Nov 14 22:14:20 UTC 2023:\n"
        "\tip: /127.0.0.1:40003 sessionId: 0x0\n"
        "1 expire at Tue Nov 14 22:14:42 UTC 2023:\n"
        f"\tip: /127.0.0.1:40002 sessionId: {third.sid}\n"
    )
    third.ask(kazoo.Close())
    assert "Sessions with Ephemerals (1):" in server.ask("dump")
    assert "Session Sets (1)/(2):" in server.ask("dump")


class Member:
    """A role of a member whose sessions are partly its own business."""

    read_only = False

    def __init__(self, *, asks_elsewhere: bool, opens_local_sessions: bool) -> None:
        self.asks_elsewhere = asks_elsewhere
        self.opens_local_sessions = opens_local_sessions


def sessions_in_dump(server: Server) -> str:
    told = server.ask("dump")
    assert told.startswith("SessionTracker dump:\n")
    return told[len("SessionTracker dump:\n") : told.index("ephemeral nodes dump:")]


def test_dump_of_a_learner_tells_the_timeouts_of_sessions_whose_time_others_count(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learner knows no deadline of a global session, nor of the connection that it is served on."""
    second, first = server.client().shake_hands(30_000), server.client().shake_hands(5_000)
    sessions = server.replica.sessions
    for session in sessions.by_id.values():
        sessions.strike(session)
    monkeypatch.setattr(server.replica, "role", Member(asks_elsewhere=True, opens_local_sessions=False))
    known = f"Global Sessions(2):\n{second.sid}\t30000ms\n{first.sid}\t5000ms\n"
    assert sessions_in_dump(server) == known
    connections = server.ask("dump").partition("Connections dump:\n")[2].splitlines()
    assert connections[1].startswith(
        "1 expire at Tue Nov 14 22:14:16 UTC 2023"
    )  # as before: heard of 50 s ago
    monkeypatch.setattr(server.replica, "role", Member(asks_elsewhere=True, opens_local_sessions=True))
    sessions.touch(mine := sessions.track(1, 5_000, 50_000), 50_000)
    mine.local = True
    at = "expire at Tue Nov 14 22:14:16 UTC 2023"
    assert sessions_in_dump(server) == f"Local Session Sets (1)/(1):\n1 {at}:\n\t0x1\n{known}"


def test_dump_and_mntr_of_a_leader_tell_local_sessions_apart(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client().shake_hands(5_000)
    server.replica.sessions.track(1, 5_000, 50_000).local = True
    told = server.mntr()
    assert (told["zk_global_sessions"], told["zk_local_sessions"]) == ("1", "1")
    monkeypatch.setattr(server.replica, "role", Member(asks_elsewhere=False, opens_local_sessions=True))
    at = "expire at Tue Nov 14 22:14:16 UTC 2023"
    assert sessions_in_dump(server) == (
        f"Local Session Sets (1)/(1):\n1 {at}:\n\t0x1\nGlobal Session Sets (1)/(1):\n1 {at}:\n\t{client.sid}\n"
    )


# watches


def test_watch_words_without_watches(server: Server) -> None:
    assert server.ask("wchs") == "0 connections watching 0 paths\nTotal watches:0\n"
    assert server.ask("wchc") == "\n"
    assert server.ask("wchp") == "\n"


def test_watch_words_tell_data_watches_and_no_child_watches(server: Server) -> None:
    first, second = server.client().shake_hands(), server.client().shake_hands()
    first.create("/a")
    first.ask(kazoo.GetData("/a", print))
    first.ask(kazoo.Exists("/none", print))
    second.ask(kazoo.GetData("/a", print))
    second.ask(kazoo.GetChildren("/", print))
    assert server.ask("wchs") == "2 connections watching 2 paths\nTotal watches:3\n"
    assert server.ask("wchc") == f"{first.sid}\n\t/a\n\t/none\n{second.sid}\n\t/a\n\n"
    assert server.ask("wchp") == f"/a\n\t{first.sid}\n\t{second.sid}\n/none\n\t{first.sid}\n\n"
    second.ask(kazoo.SetData("/a", b"", -1))
    assert server.ask("wchs") == "1 connections watching 1 paths\nTotal watches:1\n"
    first.connection.closed()
    assert server.ask("wchs") == "0 connections watching 0 paths\nTotal watches:0\n"


def test_a_watched_path_that_is_no_unicode_is_told_all_the_same(server: Server) -> None:
    client = server.client().shake_hands()
    server.replica.tree.watches.data.add("/\ud83d", client.connection)
    assert server.ask("wchp") == f"/?\n\t{client.sid}\n\n"


# hash


def test_hash_tells_the_digests_at_every_128th_zxid(server: Server) -> None:
    client = server.client().shake_hands()
    for number in range(130):
        client.create(f"/{number}")
    (zxid, digest), *others = server.replica.tree.digest.log
    assert not others
    assert server.ask("hash") == f"80: {digest}\n"
    assert zxid == 0x80
    assert digest != 0


def test_hash_tells_digests_as_javas_longs(server: Server) -> None:
    server.replica.tree.digest.log.append((256, (1 << 64) - 5))
    assert server.ask("hash") == "100: -5\n"


def test_hash_says_nothing_where_digests_are_off() -> None:
    server = Server(digest_enabled=False)
    client = server.client().shake_hands()
    for number in range(130):
        client.create(f"/{number}")
    assert server.raw(b"hash") == b""
