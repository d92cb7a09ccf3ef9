"""The tools on files of Apache's server, and Apache's server and tools on files of ours."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from interop.apache import (
    PLAIN,
    QUIET_JVM,
    RELEASES,
    SUPER_CREDENTIALS,
    Flavor,
    answers,
    child,
    debian_classpath,
    free_port,
    newer_classpath,
    zoo_cfg,
)
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl
from storage.histories import History

from pyzkserver import Server

from .helpers import Tool, entry_offsets, fingerprint, write_directory

pytestmark = pytest.mark.interop

LONG = 600_000  # ms: no session may expire while a test looks at it


@pytest.fixture(params=RELEASES)
def classpath(request: pytest.FixtureRequest) -> str:
    return debian_classpath() if request.param == "3.8" else newer_classpath()


def java(classpath: str, *words: object) -> list[str]:
    properties = {**PLAIN, "zookeeper.extendedTypesEnabled": "true", "zookeeper.forceSync": "no"}
    properties |= {"zookeeper.preAllocSize": "100", "znode.container.checkIntervalMs": "86400000"}
    return [
        "java",
        *QUIET_JVM,
        *(f"-D{k}={v}" for k, v in properties.items()),
        "-cp",
        classpath,
        *map(str, words),
    ]


@contextmanager
def apache_on(folder: Path, classpath: str) -> Iterator[str]:
    """Apache's server on ``folder/data``; killed when this is left."""
    folder.mkdir(exist_ok=True)
    address = ("127.0.0.1", free_port())
    config = zoo_cfg(folder, address[1], Flavor(config={"maxSessionTimeout": str(LONG), "snapCount": "30"}))
    command = java(classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)
    with child(command, folder / "log") as process:
        until = time.monotonic() + 60
        while not answers(address):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Apache's server did not start:\n{(folder / 'log').read_text()[-4000:]}")
            time.sleep(0.05)
        yield f"{address[0]}:{address[1]}"


@contextmanager
def client_of(hosts: str, **how: Any) -> Iterator[KazooClient]:
    client = KazooClient(hosts, auth_data=[("digest", SUPER_CREDENTIALS.decode())], **how)
    client.start(60)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def everything(client: KazooClient) -> dict[str, tuple[Any, ...]]:
    """Every node, with its data, stat, ACL and children, as the server shows it."""
    shown, waiting = {}, ["/"]
    while waiting:
        path = waiting.pop()
        data, stat = client.get(path)
        acl, _ = client.get_acls(path)
        children = sorted(client.get_children(path))
        shown[path] = (data, tuple(stat), [(entry.perms, tuple(entry.id)) for entry in acl], children)
        waiting += [f"{path.rstrip('/')}/{name}" for name in children]
    return shown


def fill(client: KazooClient) -> None:
    """Something of everything."""
    client.create("/a", "é\n中".encode())
    client.create("/a/null", None)
    client.create("/a/binary", bytes(range(256)), acl=[make_digest_acl("u", "p", read=True, admin=True)])
    for _ in range(50):
        client.create("/a/n-", b"", sequence=True)
    client.delete("/a/n-0000000051")
    client.set("/a", b"again")
    client.set_acls("/a/null", [make_digest_acl("u", "p", all=True)])
    client.create("/ephemeral", b"mine", ephemeral=True)
    client.create("/zookeeper/quota/a/zookeeper_limits", b"count=100,bytes=-1", makepath=True)
    client.create("/zookeeper/quota/a/zookeeper_stats", b"count=0,bytes=0")
    transaction = client.transaction()
    transaction.create("/m", b"1")
    transaction.set_data("/m", b"2")
    transaction.commit()


def test_apaches_files(classpath: str, tool: Tool, tmp_path: Path) -> None:
    """While Apache's server runs: its logs and snapshots are sound, and a dump holds all that it shows; its
    sessions, too.  What is restored from that, Apache's server shows just so, and ours; the session goes on."""
    with apache_on(tmp_path / "apache", classpath) as hosts, client_of(hosts, timeout=300) as client:
        fill(client)
        shown, session = everything(client), client.client_id
        version = tmp_path / "apache" / "data" / "version-2"
        logs, snapshots = sorted(version.glob("log.*")), sorted(version.glob("snapshot.*"))
        assert len(logs) > 1
        assert tool("log", "--verify", *logs).status == 0
        lines = [json.loads(line) for line in tool("log", "--json", *logs).out.splitlines()]
        assert {each["op"] for each in lines} >= {
            "create",
            "delete",
            "setData",
            "setACL",
            "createSession",
            "multi",
        }
        # The server writes the newest one beside its work, and at once under its true name.
        until = time.monotonic() + 30
        while (verified := tool("snapshot", "--verify", *snapshots)).status and time.monotonic() < until:
            time.sleep(0.05)
        assert verified.status == 0, verified
        before = fingerprint(version)
        dump = tool("dump", tmp_path / "apache" / "zoo.cfg")
        assert dump.status == 0, dump.err
        assert fingerprint(version) == before
        assert f"as of zxid {client.last_zxid:#x} " in dump.err
        assert json.loads(dump.out)["sessions"] == {hex(session[0]): {"timeout": 300_000}}
    for name in ("again", "ours"):
        restored = tool("restore", "-", tmp_path / name / "data", answer=dump.out)
        assert (restored.status, restored.err) == (0, "")
    with (
        apache_on(tmp_path / "again", classpath) as hosts,
        client_of(hosts, timeout=300, client_id=session) as client,
    ):
        check_restored(client, session, shown)
        assert "digest" not in "".join(re.findall("ERROR.*", (tmp_path / "again" / "log").read_text()))
    with (
        Server(
            data_dir=tmp_path / "ours" / "data", super_digest=PLAIN[SUPER], max_session_timeout=LONG
        ) as server,
        client_of(server.hosts, timeout=300, client_id=session) as client,
    ):
        check_restored(client, session, shown)


SUPER = "zookeeper.DigestAuthenticationProvider.superDigest"


def check_restored(
    client: KazooClient, session: tuple[int, bytes], shown: dict[str, tuple[Any, ...]]
) -> None:
    assert client.client_id[0] == session[0]
    assert everything(client) == shown
    assert client.create("/a/n-", b"", sequence=True) == "/a/n-0000000052"


def test_everything_that_a_server_may_hold(
    classpath: str, tool: Tool, tmp_path: Path, history: History
) -> None:
    """Apache's server starts on the dump of a directory full of everything, restored, and goes on; a dump of
    what it wrote then differs only by what it did."""
    write_directory(tmp_path / "first", history)
    first = tool("dump", tmp_path / "first").out
    data = tmp_path / "apache" / "data"
    assert tool("restore", "-", data, answer=first).status == 0
    with apache_on(tmp_path / "apache", classpath) as hosts, client_of(hosts) as client:
        assert set(client.get_children("/")) == set(json.loads(first)["root"]["children"])
        client.create("/new", b"")
        log = (tmp_path / "apache" / "log").read_text()
        again = tool("dump", data)
        assert again.status == 0, again.err
    assert "Digests are not matching" not in log
    root = json.loads(again.out)["root"]["children"]
    del root["new"]
    assert root == json.loads(first)["root"]["children"]


def test_apaches_tools_on_what_was_repaired(tool: Tool, tmp_path: Path, history: History) -> None:
    """zkTxnLogToolkit reads a log that was repaired either way, and zkSnapShotToolkit a restored snapshot."""
    classpath = debian_classpath()
    log = write_directory(tmp_path / "data", history)
    content = log.read_bytes()
    restored = tmp_path / "restored"
    assert tool("restore", "-", restored, answer=tool("dump", tmp_path / "data").out).status == 0

    def apache(*words: object) -> str:
        return subprocess.run(java(classpath, *words), check=True, capture_output=True, text=True).stdout

    offset = entry_offsets(history.txns)[50]
    for words, count in ((["--fix-checksums"], 200), (["--cut-at-damage"], 50)):
        log.write_bytes(content[: offset + 7] + bytes([content[offset + 7] ^ 1]) + content[offset + 8 :])
        assert tool("log", "--repair", "--yes", *words, log).status == 0
        said = apache("org.apache.zookeeper.server.persistence.TxnLogToolkit", log)
        assert f"EOF reached after {count} txns." in said
        assert "CRC ERROR" not in said
        log.with_name(f"bak.{log.name}").unlink()
    [snapshot] = (restored / "version-2").iterdir()
    said = apache("org.apache.zookeeper.server.SnapshotFormatter", snapshot)
    assert f"Last zxid: {history.zxid:#x}" in said or f"0x{history.zxid:x}" in said
    assert said.count("cZxid = ") == len(history.tree.nodes) - 1
