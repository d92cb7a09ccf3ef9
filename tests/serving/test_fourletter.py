"""The four-letter words: who may ask which, the small ones, and what is told of the program and the machine."""

import socket
import struct
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from pyzkserver.config import FOUR_LETTER_WORDS
from pyzkserver.serving import fourletter

from .words import TELNET_CLOSE, Server


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
    assert server.raw(b"stmk").endswith(b"not in the whitelist.\n")  # at once: its mask does not matter
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
