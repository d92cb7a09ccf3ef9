"""The four-letter words: their shapes against the parsers of real tools, their values against what happens.

Real connections of a real service, driven without sockets.  The client's side is written with kazoo's
serializers, so that nothing here believes our own.
"""

import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.protocol import serialization as kazoo
from kazoo.security import OPEN_ACL_UNSAFE

from pyzkserver.config import FOUR_LETTER_WORDS, Config
from pyzkserver.host import Host
from pyzkserver.replica.standalone import Standalone
from pyzkserver.server import build_replica
from pyzkserver.serving import fourletter
from pyzkserver.serving.service import Service
from pyzkserver.state.transaction import Transaction

PING = 11
TELNET_CLOSE = b"\xff\xf4\xff\xfd"
EPOCH = 1_700_000_000_000  # Tue Nov 14 22:13:20 UTC 2023


class FixedHost(Host):
    """A machine whose clocks go when told."""

    def __init__(self) -> None:
        self.elapsed = 50_000

    def wall_ms(self) -> int:
        return EPOCH + self.elapsed

    def elapsed_ms(self) -> int:
        return self.elapsed


class SlowLog:
    """A log that makes nothing durable before it is told to."""

    immediate = False

    def __init__(self) -> None:
        self.durable: Callable[[int], None] = lambda zxid: None
        self.last = 0

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        self.last = txn.zxid

    def flush(self) -> None:
        self.durable(self.last)


class Client:
    """A connection, and what a client does with it."""

    def __init__(self, server: "Server", address: tuple[str, int]) -> None:
        self.connection = server.service.new_connection(address, lambda connection: None)
        self.xid = 0

    def shake_hands(self, timeout: int = 10_000) -> "Client":
        self._send(bytes(kazoo.Connect(0, 0, timeout, 0, b"\0" * 16, False).serialize()))
        return self

    def ask(self, request: Any) -> None:
        """Send a request; its answer and all events are read at once, unless nobody does."""
        self.xid += 1
        self._send(struct.pack(">ii", self.xid, request.type) + bytes(request.serialize()))

    def ping(self) -> None:
        self._send(struct.pack(">ii", -2, PING))

    def create(self, path: str, data: bytes = b"", flags: int = 0) -> None:
        self.ask(kazoo.Create(path, data, OPEN_ACL_UNSAFE, flags))

    def _send(self, body: bytes) -> None:
        self.connection.receive(struct.pack(">i", len(body)) + body)
        self.read()

    def read(self) -> None:
        self.connection.outbox.clear()
        self.connection.queued = 0

    @property
    def sid(self) -> str:
        return f"0x{self.connection.session_id & (1 << 64) - 1:x}"


class Server:
    def __init__(self, **settings: Any) -> None:
        config = Config(**{"four_letter_words": frozenset({"*"}), **settings})
        self.host = FixedHost()
        self.replica = build_replica(config, self.host)
        self.service = Service(config, self.replica, self.host)
        self._ports = iter(range(40_000, 50_000))

    def client(self, host: str = "127.0.0.1") -> Client:
        return Client(self, (host, next(self._ports)))

    def raw(self, word: bytes) -> bytes:
        """What one who connects, says a word and leaves is told."""
        asker = self.client().connection
        asker.receive(word)
        assert asker.closing
        (answer,) = asker.outbox  # in one piece: kazoo receives once
        asker.closed()
        return answer

    def ask(self, word: str) -> str:
        return self.raw(word.encode()).decode()

    def mntr(self) -> dict[str, str]:
        lines = self.ask("mntr").splitlines()
        values = dict(line.split("\t") for line in lines)
        assert len(values) == len(lines)
        return values

    def srvr(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.ask("srvr").splitlines())

    def hold_writes(self) -> SlowLog:
        log = SlowLog()
        self.replica.log = log
        self.replica.take_role(Standalone(self.replica))
        return log


@pytest.fixture
def server() -> Server:
    return Server()


# who may ask what


def test_all_of_apaches_words_are_known() -> None:
    assert {word.encode() for word in FOUR_LETTER_WORDS} | {TELNET_CLOSE} == fourletter.WORDS


@pytest.mark.parametrize("word", sorted(FOUR_LETTER_WORDS - {"stmk"}))
def test_every_word_is_answered_where_all_are_granted(server: Server, word: str) -> None:
    assert "whitelist" not in server.ask(word)


@pytest.mark.parametrize("word", sorted(FOUR_LETTER_WORDS - {"srvr", "stmk"}))
def test_only_srvr_is_granted_by_default(word: str) -> None:
    server = Server(four_letter_words=frozenset())
    assert server.ask(word) == f"{word} is not executed because it is not in the whitelist.\n"
    assert server.ask("srvr").startswith("Zookeeper version: ")


def test_a_refused_word_does_nothing() -> None:
    server = Server(four_letter_words=frozenset({"gtmk"}))
    assert server.raw(b"stmk" + bytes(8)).endswith(b"not in the whitelist.\n")
    assert server.ask("gtmk") == "306"


def test_read_only_mode_grants_isro() -> None:
    assert Server(four_letter_words=frozenset(), read_only_mode_enabled=True).ask("isro") == "rw"


@pytest.mark.parametrize("words", [frozenset(), frozenset({"*"})])
def test_telnets_farewell_is_never_granted(words: frozenset[str]) -> None:
    answer = Server(four_letter_words=words).raw(TELNET_CLOSE)
    assert answer == b"telnet close is not executed because it is not in the whitelist.\n"


def test_a_word_that_comes_in_pieces(server: Server) -> None:
    connection = server.client().connection
    for byte in b"ruo":
        connection.receive(bytes([byte]))
        assert not connection.outbox
    connection.receive(b"k")
    assert connection.outbox == [b"imok"]


def test_a_line_end_after_the_word_changes_nothing(server: Server) -> None:
    assert server.ask("ruok\n") == "imok"  # Telegraf and zktop send one


# small words


def test_ruok_and_isro_have_no_line_end(server: Server) -> None:
    assert server.ask("ruok") == "imok"
    assert server.ask("isro") == "rw"


def test_the_trace_mask_is_set_and_told(server: Server) -> None:
    assert server.ask("gtmk") == "306"
    assert server.raw(b"stmk" + struct.pack(">q", 1 << 40)) == b"1099511627776"
    assert server.ask("gtmk") == "1099511627776"
    assert server.raw(b"stmk" + struct.pack(">q", -2)) == b"-2"
    assert server.ask("gtmk") == "-2"


# version and environment


def test_kazoo_reads_the_version(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = KazooClient()
    monkeypatch.setattr(client, "command", lambda word: server.raw(word).decode("utf-8", "replace"))
    assert client.server_version(retries=0) == (3, 9, 5)


def test_envi_tells_the_keys_that_make_sense_here(server: Server) -> None:
    first, *lines = server.ask("envi").splitlines()
    values = dict(line.split("=", 1) for line in lines)
    assert first == "Environment:"
    assert list(values) == [
        "zookeeper.version",
        "host.name",
        "python.version",
        "python.implementation",
        "os.name",
        "os.arch",
        "os.version",
        "user.name",
        "user.home",
        "user.dir",
    ]
    assert all(values.values())
    assert values["zookeeper.version"] == fourletter.FULL_VERSION
    assert values["user.dir"] == str(Path.cwd())


def test_envi_survives_a_machine_that_tells_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import getpass

    def unknown() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    told = server.ask("envi")
    assert "user.name=<NA>\n" in told
    assert "user.dir=<NA>\n" in told
    assert "host.name=<NA>\n" in told


# srvr and stat

# flw.go of go-zookeeper/zk.
GO_VERSION = (
    r"^Zookeeper version: ([A-Za-z0-9\.\-]+), built on"
    r" ((\d\d/\d\d/\d\d\d\d|\d\d\d\d-\d\d-\d\d) \d\d:\d\d [A-Za-z0-9:\+\-]+)"
)
GO_SRVR = re.compile(
    rf"\A{GO_VERSION}.*\n"
    r"^Latency min/avg/max: (\d+)/([0-9.]+)/(\d+).*\n"
    r"^Received: (\d+).*\n^Sent: (\d+).*\n^Connections: (\d+).*\n^Outstanding: (\d+).*\n"
    r"^Zxid: (0x[A-Za-z0-9]+).*\n^Mode: (\w+).*\n^Node count: (\d+)",
    re.MULTILINE,
)
# And the older samuel/go-zookeeper's, the part that does not conflict with Apache 3.9.
OLD_GO_VERSION = re.compile(
    r"^Zookeeper version: ([A-Za-z0-9\.\-]+), built on (\d\d/\d\d/\d\d\d\d \d\d:\d\d [A-Za-z0-9:\+\-]+)"
)


def test_go_zookeeper_parses_srvr(server: Server) -> None:
    server.client().shake_hands().create("/a")
    found = GO_SRVR.match(server.ask("srvr"))
    assert found
    assert found.groups() == (
        fourletter.VERSION,
        "11/22/2026 00:00 UTC",
        "11/22/2026",
        *("0", "0.0", "0"),
        *("3", "2", "2", "0"),
        *("0x2", "standalone", "6"),
    )


def test_the_build_date_is_a_date_in_the_form_that_all_parsers_know(server: Server) -> None:
    found = OLD_GO_VERSION.match(server.ask("srvr"))
    assert found
    assert datetime.strptime(found[2], "%m/%d/%Y %H:%M %Z")


def test_zktop_parses_stat(server: Server) -> None:
    client = server.client("10.1.2.3").shake_hands()
    client.create("/a")
    lines = iter(server.ask("stat\n").splitlines())
    version = re.search(r".*: (\d+\.\d+\.\d+)-.*", next(lines))
    assert version
    assert version[1] == "3.9.5"
    next(lines)
    rows = [_zktop_session(line) for line in iter(lambda: next(lines), "")]
    assert rows == [
        ("10.1.2.3", "40000", "1", {"queued": "0", "recved": "2", "sent": "2"}),
        ("127.0.0.1", "40001", "0", {"queued": "0", "recved": "1", "sent": "0"}),
    ]
    attributes = dict(line.split(":") for line in lines)
    assert attributes["Latency min/avg/max"].split("/") == [" 0", "0.0", "0"]
    assert int(attributes["Zxid"], 16) == 2
    assert int(attributes["Node count"]) == 6
    assert attributes["Mode"].strip() == "standalone"


def _zktop_session(line: str) -> tuple[str, str, str, dict[str, str]]:
    found = re.search(r"/([\da-fA-F:\.]+):(\d+)\[(\d+)\]\((.*)\)", line)
    assert found
    return found[1], found[2], found[3], dict(pair.split("=") for pair in found[4].split(","))


def test_stat_is_srvr_with_the_clients_between(server: Server) -> None:
    server.client().shake_hands()
    head, _, rest = server.ask("stat").partition("Clients:\n /127.0.0.1:40000[1](queued=0,recved=1,sent=1)\n")
    asker, _, tail = rest.partition("\n\n")
    assert re.fullmatch(r" /127\.0\.0\.1:\d+\[0\]\(queued=0,recved=1,sent=0\)", asker)
    # One more word was received, and one answer sent, when srvr is asked after it.
    tail = tail.replace("Received: 2\nSent: 1", "Received: 3\nSent: 2")
    assert head + tail == server.ask("srvr")


def test_the_latencies_are_those_that_were_measured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client().shake_hands()
    server.ask("srst")
    server.ask("crst")
    for millis in (7, 2, 4):
        _takes(server, monkeypatch, millis)
        client.ask(kazoo.Exists("/", None))
    assert server.srvr()["Latency min/avg/max"] == "2/4.3333/7"
    values = server.mntr()
    assert (values["zk_min_latency"], values["zk_avg_latency"], values["zk_max_latency"]) == (
        "2",
        "4.3333",
        "7",
    )
    told = server.ask("cons").splitlines()[0]
    assert told.endswith(",llat=4,minlat=2,avglat=4,maxlat=7)")


def _takes(server: Server, monkeypatch: pytest.MonkeyPatch, millis: int) -> None:
    """The next request takes so long: every second look at the clock finds it later."""

    def clock() -> Iterator[int]:
        start = server.host.elapsed
        yield start
        server.host.elapsed = start + millis
        while True:
            yield server.host.elapsed

    looks = clock()
    monkeypatch.setattr(server.host, "elapsed_ms", lambda: next(looks))


def test_packets_are_counted(server: Server) -> None:
    client = server.client().shake_hands()
    before = server.srvr()
    for _ in range(5):
        client.ping()
        client.ask(kazoo.GetChildren("/", None))
    after = server.srvr()
    # And the word itself.
    assert int(after["Received"]) - int(before["Received"]) == 11
    assert int(after["Sent"]) - int(before["Sent"]) == 11


def test_what_is_under_way_is_outstanding(server: Server) -> None:
    client = server.client().shake_hands()
    log = server.hold_writes()
    client.create("/a")
    client.create("/b")
    client.ask(kazoo.GetChildren("/", None))  # waits behind them
    assert server.srvr()["Outstanding"] == server.mntr()["zk_outstanding_requests"] == "3"
    assert "[1](queued=3,recved=4,sent=1" in server.ask("cons")
    log.flush()
    client.read()
    assert server.srvr()["Outstanding"] == "0"
    assert "[1](queued=0,recved=4,sent=4" in server.ask("cons")


def test_the_numbers_follow_the_tree(server: Server) -> None:
    client = server.client().shake_hands()
    before = server.mntr()
    assert before["zk_znode_count"] == "5"
    assert before["zk_approximate_data_size"] == "44"  # of Apache's fresh tree
    client.create("/a", b"12345")
    client.create("/e", b"", 1)
    client.ask(kazoo.GetData("/a", print))
    client.ask(kazoo.GetChildren("/a", print))
    after = server.mntr()
    assert after["zk_znode_count"] == server.srvr()["Node count"] == "7"
    assert after["zk_approximate_data_size"] == str(44 + len("/a") + 5 + len("/e"))
    assert (before["zk_ephemerals_count"], after["zk_ephemerals_count"]) == ("0", "1")
    assert (before["zk_watch_count"], after["zk_watch_count"]) == ("0", "2")
    assert server.srvr()["Zxid"] == "0x3"


def test_sessions_and_connections_are_counted(server: Server) -> None:
    clients = [server.client().shake_hands() for _ in range(3)]
    assert server.srvr()["Connections"] == server.mntr()["zk_num_alive_connections"] == "4"
    assert server.mntr()["zk_global_sessions"] == "3"
    clients[0].ask(kazoo.Close())
    clients[0].connection.closed()
    assert server.srvr()["Connections"] == "3"
    assert server.mntr()["zk_global_sessions"] == "2"


# mntr


def test_telegraf_parses_mntr(server: Server) -> None:
    for line in server.ask("mntr\n").splitlines():
        assert re.match(r"^zk_(\w+)\s+([\w\.\-]+)", line)


def test_the_version_is_mntrs_first_line(server: Server) -> None:
    first, second = server.ask("mntr").splitlines()[:2]  # Datadog skips the first, whatever it is
    assert first == f"zk_version\t{fourletter.FULL_VERSION}"
    assert second == "zk_server_state\tstandalone"


def test_all_other_values_of_mntr_are_numbers(server: Server) -> None:
    values = server.mntr()
    del values["zk_version"], values["zk_server_state"]
    assert float(values.pop("zk_avg_latency")) == 0.0
    assert all(value.isdecimal() for value in values.values())


def test_mntr_has_what_dashboards_show(server: Server) -> None:
    assert server.mntr().keys() >= {
        "zk_avg_latency",
        "zk_max_latency",
        "zk_min_latency",
        "zk_packets_received",
        "zk_packets_sent",
        "zk_num_alive_connections",
        "zk_outstanding_requests",
        "zk_znode_count",
        "zk_watch_count",
        "zk_ephemerals_count",
        "zk_approximate_data_size",
        "zk_open_file_descriptor_count",
        "zk_max_file_descriptor_count",
        "zk_uptime",
        "zk_global_sessions",
    }


class Leader:
    """A role with numbers of its own."""

    mode = "leader"
    read_only = False

    def __init__(self) -> None:
        self.sizes = [40, 30, 120]

    def gauges(self) -> dict[str, int]:
        last, least, most = self.sizes
        return {
            "learners": 2,
            "synced_followers": 2,
            "last_proposal_size": last,
            "max_proposal_size": most,
            "min_proposal_size": least,
        }

    def reset_statistics(self) -> None:
        self.sizes = [-1, -1, -1]


def test_a_roles_own_numbers_and_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a leader counts stands in mntr under Apache's names; its mode in srvr and mntr."""
    server = Server()
    assert "zk_synced_followers" not in server.mntr()
    monkeypatch.setattr(server.replica, "role", Leader())
    told = server.mntr()
    assert (told["zk_learners"], told["zk_synced_followers"]) == ("2", "2")
    assert told["zk_server_state"] == server.srvr()["Mode"] == "leader"


def test_a_leader_tells_how_large_its_proposals_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line of srvr and stat, until srst has forgotten them; others have no such line."""
    server = Server()
    assert "Proposal sizes" not in server.ask("srvr") + server.ask("stat")
    monkeypatch.setattr(server.replica, "role", Leader())
    for word in ("srvr", "stat"):
        assert server.ask(word).endswith("\nProposal sizes last/min/max: 40/30/120\n")
    server.ask("srst")
    assert server.ask("srvr").endswith("\nProposal sizes last/min/max: -1/-1/-1\n")


def test_a_read_only_member_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second line of srvr and stat (``StatCommand``)."""
    server = Server()
    monkeypatch.setattr(Standalone, "read_only", True)
    for word in ("srvr", "stat"):
        assert server.ask(word).split("\n")[1] == "READ-ONLY mode; serving only read-only clients"


def test_mntr_counts_in_milliseconds_how_long_it_is_up(server: Server) -> None:
    server.host.elapsed += 12_345
    assert server.mntr()["zk_uptime"] == "12345"


@pytest.mark.parametrize(
    ("key", "counter"),
    [
        ("auth_failed_count", "auth_failed"),
        ("connection_rejected", "connections_rejected"),
        ("connection_drop_count", "connections_dropped"),
        ("connection_revalidate_count", "revalidated"),
        ("sessionless_connections_expired", "sessionless_expired"),
    ],
)
def test_mntr_tells_the_counters(server: Server, key: str, counter: str) -> None:
    before = int(server.mntr()[f"zk_{key}"])
    statistics = server.service.statistics
    setattr(statistics, counter, getattr(statistics, counter) + 17)
    assert int(server.mntr()[f"zk_{key}"]) == before + 17


def test_a_failed_authentication_shows(server: Server) -> None:
    client = server.client().shake_hands()
    client.ask(kazoo.Auth(0, "nonsense", "a:b"))
    assert server.mntr()["zk_auth_failed_count"] == "1"


def test_open_file_descriptors_are_counted(server: Server) -> None:
    assert int(server.mntr()["zk_open_file_descriptor_count"]) == _open_descriptors()
    pair = socket.socketpair()
    assert int(server.mntr()["zk_open_file_descriptor_count"]) == _open_descriptors()
    for end in pair:
        end.close()
    assert int(server.mntr()["zk_open_file_descriptor_count"]) == _open_descriptors()


def _open_descriptors() -> int:
    """Found by trying them all."""
    found = 0
    for number in range(10_000):
        try:
            os.fstat(number)
        except OSError:
            continue
        found += 1
    return found


def test_file_descriptors_have_no_line_where_the_system_does_not_tell(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    def unknown(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", unknown)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert not any("file_descriptor" in key for key in server.mntr())


# cons

# flw.go of go-zookeeper/zk, but for the ranges of an address's numbers.
GO_CONS = re.compile(
    r"^ /((?:\d{1,3}\.){3}\d{1,3}:\d+)\[\d+\]"
    r"\(queued=(\d+),recved=(\d+),sent=(\d+),sid=(0x[A-Za-z0-9]+),lop=(\w+),est=(\d+),to=(\d+),"
    r"lcxid=(0x[A-Za-z0-9]+),lzxid=(0x[A-Za-z0-9]+),lresp=(\d+),llat=(\d+),minlat=(\d+),avglat=(\d+),"
    r"maxlat=(\d+)\)"
)


def test_go_zookeeper_parses_cons(server: Server) -> None:
    client = server.client("10.0.0.7").shake_hands(timeout=9_000)
    established = server.host.wall_ms()
    server.host.elapsed += 500
    client.create("/a")
    client.ask(kazoo.GetData("/a", None))
    server.host.elapsed += 500
    found = GO_CONS.match(server.ask("cons"))
    assert found
    assert found.groups() == (
        "10.0.0.7:40000",
        *("0", "3", "3"),
        *(client.sid, "GETD", str(established), "9000"),
        *("0x2", "0x2", "50500"),
        *("0", "0", "0", "0"),
    )


@pytest.mark.parametrize(
    ("request_", "short"),
    [
        (kazoo.Exists("/", None), "EXIS"),
        (kazoo.GetChildren2("/", None), "GETC"),
        (kazoo.Delete("/none", -1), "DELE"),
        (kazoo.SetData("/none", b"", -1), "SETD"),
        (kazoo.Sync("/"), "SYNC"),
    ],
)
def test_cons_tells_the_last_operation(server: Server, request_: Any, short: str) -> None:
    client = server.client().shake_hands()
    client.ask(request_)
    assert f",lop={short}," in server.ask("cons")
    client.ping()
    assert ",lop=PING," in server.ask("cons")


def test_cons_tells_little_of_those_without_a_session(server: Server) -> None:
    assert server.ask("cons") == " /127.0.0.1:40000[0](queued=0,recved=1,sent=0)\n\n"


def test_addresses_print_as_java_prints_them(server: Server) -> None:
    server.client("0:0:0:0:0:0:0:1").shake_hands()
    assert server.ask("stat").splitlines()[2].startswith(" /[0:0:0:0:0:0:0:1]:40000[1](")
    assert "\tip: /[0:0:0:0:0:0:0:1]:40000 sessionId: 0x" in server.ask("dump")


def test_session_ids_are_unsigned() -> None:
    server = Server(server_id=200)
    client = server.client().shake_hands()
    assert client.connection.session_id < 0
    client.create("/e", b"", 1)
    client.ask(kazoo.Exists("/e", print))
    assert client.sid.startswith("0xc8")
    for word in ("cons", "dump", "wchc", "wchp"):
        assert client.sid in server.ask(word), word


def test_the_interest_is_what_the_socket_waits_for(server: Server) -> None:
    client = server.client().shake_hands()
    row = f"127.0.0.1:{client.connection.address[1]}"
    assert f"{row}[1]" in server.ask("stat")
    client.connection.queued = 100  # unread
    assert f"{row}[4]" in server.ask("stat")
    client.connection.queued = 0
    client.connection.paused = True
    assert f"{row}[0]" in server.ask("stat")


# resets


def test_srst_resets_the_server_and_not_the_connections(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client().shake_hands()
    _takes(server, monkeypatch, 5)
    client.create("/a")
    assert server.ask("srst") == "Server stats reset.\n"
    told = server.srvr()
    assert told["Latency min/avg/max"] == "0/0.0/0"
    assert (told["Received"], told["Sent"]) == ("1", "1")  # the answer to srst, and srvr
    assert told["Zxid"] == "0x2"
    assert "recved=2,sent=2" in server.ask("cons")
    assert "maxlat=5" in server.ask("cons")


def test_crst_resets_the_connections_and_not_the_server(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client().shake_hands()
    established = client.connection.established_ms
    _takes(server, monkeypatch, 5)
    client.create("/a")
    assert server.ask("crst") == "Connection stats reset.\n"
    assert server.ask("cons").splitlines()[0] == (
        f" /127.0.0.1:40000[1](queued=0,recved=0,sent=0,sid={client.sid},lop=NA,est={established},to=10000"
        ",lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)"
    )
    assert server.srvr()["Latency min/avg/max"] == "0/2.5/5"  # the session took no time
    client.ping()
    assert "recved=1,sent=1" in server.ask("cons")


# conf and dirs


def test_conf_in_memory() -> None:
    server = Server(tick_time=1000, max_client_cnxns=7, client_port_listen_backlog=5)
    server.service.port = 12345
    assert server.ask("conf") == (
        "clientPort=12345\n"
        "secureClientPort=-1\n"
        "dataDir=\n"
        "dataDirSize=0\n"
        "dataLogDir=\n"
        "dataLogSize=0\n"
        "tickTime=1000\n"
        "maxClientCnxns=7\n"
        "minSessionTimeout=2000\n"
        "maxSessionTimeout=20000\n"
        "clientPortListenBacklog=5\n"
        "serverId=0\n"
    )
    assert server.ask("dirs") == "datadir_size: 0\nlogdir_size: 0\n"


def test_conf_of_a_member() -> None:
    """Its place in the ensemble, and the members as /zookeeper/config has them at the moment."""
    members = ((1, "127.0.0.1:2888:3888;2181"), (2, "127.0.0.1:2889:3889:observer;2182"))
    members += ((3, "127.0.0.1:2890:3890;2183"), (4, "127.0.0.1:2891:3891;2184"))
    server = Server(servers=members, server_id=2, init_limit=10, sync_limit=5)
    server.replica.tree.nodes["/zookeeper/config"].data = b"server.1=...\nversion=100000000"
    assert server.ask("conf").partition("clientPortListenBacklog=-1\n")[2] == (
        "serverId=2\n"
        "initLimit=10\n"
        "syncLimit=5\n"
        "electionAlg=3\n"
        "electionPort=3889\n"
        "quorumPort=2889\n"
        "peerType=1\n"
        "membership: \n"
        "server.1=...\n"
        "version=100000000"
    )


def test_conf_and_dirs_with_directories(tmp_path: Path) -> None:
    snapshots, logs = tmp_path / "data" / "version-2", tmp_path / "log" / "version-2"
    for directory, size in ((snapshots, 100), (logs, 30), (logs / "sub", 7)):
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(bytes(size))
    (tmp_path / "data" / "myid").write_text("1")  # beside what is counted
    server = Server(data_dir=tmp_path / "data", data_log_dir=tmp_path / "log")
    told = server.ask("conf")
    assert f"dataDir={snapshots}\ndataDirSize=100\ndataLogDir={logs}\ndataLogSize=37\n" in told
    assert server.ask("dirs") == "datadir_size: 100\nlogdir_size: 37\n"


def test_logs_are_beside_the_snapshots_where_nothing_is_said(tmp_path: Path) -> None:
    told = Server(data_dir=tmp_path).ask("conf")
    assert f"dataDir={tmp_path}/version-2\n" in told
    assert f"dataLogDir={tmp_path}/version-2\n" in told


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
