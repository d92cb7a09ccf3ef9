"""Apache's own server as a child process: Debian's 3.8, and 3.9 if ZOOKEEPER_39_CLASSPATH names its jars."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pyzkserver.serving.port import reserve

from . import calls
from .conversation import PATIENCE, Address, Connect, Conversation, Scenario, play
from .replies import Names, Reader

DEBIAN_JAR = Path("/usr/share/java/zookeeper.jar")
NEWER_CLASSPATH = "ZOOKEEPER_39_CLASSPATH"
QUIET_JVM = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xmx256m",
    "-Xshare:auto",
    "-Dfile.encoding=UTF-8",
)
RELEASES = ("3.8", "3.9") if os.environ.get(NEWER_CLASSPATH) else ("3.8",)
SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="  # the password is "test"
SUPER_CREDENTIALS = b"super:test"

# What the servers of the scenarios are started with: Apache's properties, and pyzkserver.Server's keywords.
PLAIN: Mapping[str, str] = {"zookeeper.DigestAuthenticationProvider.superDigest": SUPER_DIGEST}


@dataclass(frozen=True)
class Flavor:
    """One way to configure a server, in Apache's words and in ours."""

    properties: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    keywords: Mapping[str, object] = field(default_factory=dict)


FLAVORS = {
    "plain": Flavor(),
    "extended": Flavor({"zookeeper.extendedTypesEnabled": "true"}, {}, {"extended_types_enabled": True}),
    "quota": Flavor({"zookeeper.enforceQuota": "true"}, {}, {"enforce_quota": True}),
    "skip acl": Flavor({"zookeeper.skipACL": "yes"}, {}, {"skip_acl": True}),
    "reconfig": Flavor({}, {"reconfigEnabled": "true"}, {"reconfig_enabled": True}),
    "fast": Flavor({}, {"tickTime": "100"}, {"tick_time": 100}),
    "small frames": Flavor({"jute.maxbuffer": "1000"}, {}, {"jute_max_buffer": 1000}),
    "two connections": Flavor({}, {"maxClientCnxns": "2"}, {"max_client_cnxns": 2}),
    "timeouts": Flavor(
        {},
        {"minSessionTimeout": "3000", "maxSessionTimeout": "9000"},
        {"min_session_timeout": 3_000, "max_session_timeout": 9_000},
    ),
    "no digest": Flavor(
        {"zookeeper.DigestAuthenticationProvider.enabled": "false"}, {}, {"digest_authentication": False}
    ),
    "sha-256": Flavor(
        {"zookeeper.DigestAuthenticationProvider.digestAlg": "SHA-256"}, {}, {"digest_algorithm": "SHA-256"}
    ),
    "enforced": Flavor(
        {"zookeeper.enforce.auth.enabled": "true", "zookeeper.enforce.auth.schemes": "digest"},
        {},
        {"enforce_auth_enabled": True, "enforce_auth_schemes": ("digest",)},
    ),
    "never used": Flavor(
        {"znode.container.checkIntervalMs": "50", "znode.container.maxNeverUsedIntervalMs": "100"},
        {},
        {"container_check_interval_ms": 50, "container_max_never_used_interval_ms": 100},
    ),
    "upkeep": Flavor(
        {"zookeeper.extendedTypesEnabled": "true", "znode.container.checkIntervalMs": "100"},
        {},
        {"extended_types_enabled": True, "container_check_interval_ms": 100},
    ),
}


def require(found: bool, what: str) -> None:
    """Skip without `what`, except in CI, where its absence would hide that nothing was compared."""
    if found:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, which CI must have")
    pytest.skip(what)


def debian_classpath() -> str:
    require(DEBIAN_JAR.exists(), "Debian's package zookeeper is not installed")
    require(shutil.which("java") is not None, "there is no java on the PATH")
    return str(DEBIAN_JAR)


def newer_classpath() -> str:
    """The class path of Apache 3.9.  Optional everywhere: its answers are also recorded."""
    require(shutil.which("java") is not None, "there is no java on the PATH")
    return os.environ[NEWER_CLASSPATH]


_reserved: deque[socket.socket] = deque()
_MOST_RESERVED = 200


def free_port() -> int:
    """A port for a server that cannot be told to take any.

    It stays reserved until many others were asked for: nobody else gets it in the time in which that server starts,
    nor while it is down, neither to listen nor to call from.
    """
    while len(_reserved) >= _MOST_RESERVED:
        _reserved.popleft().close()
    _reserved.append(reserve(0))
    return int(_reserved[-1].getsockname()[1])


@contextmanager
def child(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own that is gone when this is left."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(address: Address) -> bool:
    """Whether a session can be opened there: Apache listens before it serves."""
    try:
        with socket.create_connection(address, timeout=5) as sock:
            sock.sendall(b"srvr")
            return b"Mode: standalone" in sock.makefile("rb").read()
    except OSError:
        return False


def zoo_cfg(folder: Path, port: int, flavor: Flavor) -> Path:
    settings = {
        "tickTime": "2000",
        "dataDir": str(folder / "data"),
        "clientPort": str(port),
        "clientPortAddress": "127.0.0.1",
        "4lw.commands.whitelist": "*",
        "admin.enableServer": "false",
        **flavor.config,
    }
    file = folder / "zoo.cfg"
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return file


@contextmanager
def apache_server(classpath: str, flavor: Flavor | None = None) -> Iterator[Address]:
    """A running server of Apache's, empty, on a port of its own."""
    flavor = flavor or FLAVORS["plain"]
    properties = {
        "zookeeper.admin.enableServer": "false",
        "zookeeper.forceSync": "no",
        "zookeeper.preAllocSize": "100",
        "znode.container.checkIntervalMs": "86400000",
        **PLAIN,
        **flavor.properties,
    }
    with tempfile.TemporaryDirectory(prefix="apache-", ignore_cleanup_errors=True) as folder:
        for _ in range(3):  # somebody else may take the free port first
            address = ("127.0.0.1", free_port())
            config = zoo_cfg(Path(folder), address[1], flavor)
            command = ["java", *QUIET_JVM, *(f"-D{k}={v}" for k, v in properties.items()), "-cp", classpath]
            command += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]
            log = Path(folder) / "log"
            with child(command, log) as process:
                until = time.monotonic() + 60
                while process.poll() is None and time.monotonic() < until:
                    if answers(address):
                        yield address
                        return
                    time.sleep(0.05)
        raise RuntimeError(f"Apache's server did not start:\n{log.read_text()[-4000:]}")


class Housekeeper:
    """A session around a scenario on a server that many scenarios share: tells the zxid, and sweeps up."""

    def __init__(self, address: Address) -> None:
        self.talk = Conversation(address, Names(0))
        self.talk.play([("keeper", Connect(timeout=40_000))])
        self.ask(calls.auth("digest", SUPER_CREDENTIALS))

    def ask(self, request: calls.Call) -> bytes:
        """The whole reply to one request."""
        connection = self.talk.connections["keeper"]
        connection.send(calls.frame(request.payload(connection.next_xid, 0)))
        connection.next_xid += 1
        reply = connection.read_frame(time.monotonic() + PATIENCE)
        if reply is None:
            raise RuntimeError("the server hung up on the housekeeper")
        return reply

    def zxid(self) -> int:
        return int.from_bytes(self.ask(calls.sync("/"))[4:12], "big", signed=True)

    def sweep(self, path: str = "/") -> None:
        """Delete everything that a scenario left, below /zookeeper/quota too."""
        body = self.ask(calls.get_children(path))[16:]
        for name in Reader(body, Names(0)).raw_vector():
            child_path = f"{path.rstrip('/')}/{name}"
            self.sweep(child_path)
            if child_path not in ("/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
                self.ask(calls.delete(child_path))

    def close(self) -> None:
        self.talk.leave()
        self.talk.hang_up()


class ApacheServers:
    """Servers of one release, one for each flavor, started when first asked for."""

    def __init__(self, release: str, classpath: str, stack: ExitStack) -> None:
        self.release = release
        self.classpath = classpath
        self.stack = stack
        self._running: dict[str, Address] = {}

    def address(self, flavor: str) -> Address:
        if flavor not in self._running:
            server = apache_server(self.classpath, FLAVORS[flavor])
            self._running[flavor] = self.stack.enter_context(server)
        return self._running[flavor]

    def transcript(self, scenario: Scenario) -> str:
        """Play the scenario on the shared server of its flavor, or on a new one where it asks for that."""
        if scenario.fresh:
            with apache_server(self.classpath, FLAVORS[scenario.server]) as address:
                return play(scenario, address, 0, self.release, tidy=False)
        address = self.address(scenario.server)
        keeper = Housekeeper(address)
        try:
            return play(scenario, address, keeper.zxid(), self.release, tidy=True)
        finally:
            keeper.sweep()
            keeper.close()


Apaches = Callable[[str], ApacheServers]
