"""The words srvr, stat, cons and mntr, and those that reset what they tell.

Their shapes are held against the parsers of real tools, their values against what happens.
"""

import os
import re
import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from kazoo.protocol import serialization as kazoo

from pyzkserver.replica.standalone import Standalone
from pyzkserver.serving import fourletter

from .words import Server


@pytest.fixture
def server() -> Server:
    return Server()


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
