"""Ensembles of processes, each member Apache's server or ours, in any mixture, on ports of their own.

A member's directory outlives its process: it may be started again as the other kind, and goes on from there.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kazoo.client import KazooClient
from kazoo.retry import KazooRetry

import pyzkserver

from .apache import NEWER_CLASSPATH, QUIET_JVM, debian_classpath, free_port, newer_classpath

JAVA = "3.9" if os.environ.get(NEWER_CLASSPATH) else "3.8"
"""The newest of Apache's that is at hand."""
PYTHON = "python"
PATIENCE = 60.0
"""Seconds: three JVMs that start on a busy machine."""

_LOGGING = Path("/usr/share/java/slf4j-simple.jar")
_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


class Member:
    """One member: its number, what it is at the moment, its directory, and its process if it has one."""

    def __init__(self, number: int, kind: str, folder: Path, *, observer: bool = False) -> None:
        self.number = number
        self.kind = kind
        self.folder = folder
        self.observer = observer
        self.client_port, self.quorum_port, self.election_port = (free_port() for _ in range(3))
        self.process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.number}: {self.kind}, {self.mode() or 'silent'}>"

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def data(self) -> Path:
        """Its snapshots and logs."""
        return self.folder / "data" / "version-2"

    @property
    def log(self) -> Path:
        """What it said, in all its lives."""
        return self.folder / "log"

    @property
    def line(self) -> str:
        role = ":observer" if self.observer else ""
        return f"server.{self.number}=127.0.0.1:{self.quorum_port}:{self.election_port}{role}"

    def prepare(self, settings: Mapping[str, str], lines: Sequence[str]) -> None:
        """Its configuration, which does not depend on its kind."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        (self.folder / "data" / "myid").write_text(f"{self.number}\n")
        words = {**settings, "dataDir": str(self.folder / "data"), "clientPort": str(self.client_port)}
        if self.observer:
            words["peerType"] = "observer"
        text = "".join(f"{key}={value}\n" for key, value in words.items())
        (self.folder / "zoo.cfg").write_text(text + "".join(f"{line}\n" for line in lines))

    def start(self, properties: Mapping[str, str]) -> None:
        """Start its process.  That it runs does not say that it serves."""
        assert self.process is None
        words = [f"-D{key}={value}" for key, value in properties.items()]
        environment = dict(os.environ)
        if self.kind == PYTHON:
            command = [sys.executable, "-m", "pyzkserver", *words]
            package = str(Path(pyzkserver.__file__).parents[1])
            environment["PYTHONPATH"] = os.pathsep.join(
                filter(None, [package, environment.get("PYTHONPATH", "")])
            )
        else:
            command = ["java", *QUIET_JVM, "-Dorg.apache.logging.log4j.level=INFO", *words]
            command += ["-cp", _classpath(self.kind), _MAIN]
        with self.log.open("ab") as output:
            output.write(f"--- starts as {self.kind}\n".encode())
            output.flush()
            self.process = subprocess.Popen(
                [*command, str(self.folder / "zoo.cfg")], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env=environment,
            )  # fmt: skip

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, or kill it with SIGKILL, and wait for its end."""
        process, self.process = self.process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def kill(self) -> None:
        """Without a warning."""
        self.end(signal.SIGKILL)

    def word(self, word: str) -> str:
        """Its answer to a four-letter word; nothing if it does not answer."""
        try:
            with socket.create_connection(("127.0.0.1", self.client_port), timeout=5) as sock:
                sock.sendall(word.encode())
                return sock.makefile("rb").read().decode()
        except OSError:
            return ""

    def mode(self) -> str:
        """leader, follower, observer, read-only; nothing while it does not serve."""
        return _field(self.word("srvr"), "Mode")

    def zxid(self) -> int:
        """The last one that it applied."""
        return int(_field(self.word("srvr"), "Zxid") or "0", 16)

    def said(self, since: int = 0) -> str:
        """What it said behind that byte of its log."""
        return self.log.read_bytes()[since:].decode("utf-8", "replace") if self.log.exists() else ""

    def mark(self) -> int:
        """How much it said until now."""
        return self.log.stat().st_size if self.log.exists() else 0


def _classpath(kind: str) -> str:
    if kind == "3.9":
        return newer_classpath()
    return os.pathsep.join([debian_classpath(), *([str(_LOGGING)] if _LOGGING.exists() else [])])


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        key, _, value = line.partition(": ")
        if key == name:
            return value.strip()
    return ""


class Ensemble:
    """Members 1, 2, 3 … of these kinds; the last ``observers`` of them are observers."""

    def __init__(
        self,
        folder: Path,
        kinds: Sequence[str],
        *,
        observers: int = 0,
        settings: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        voters = len(kinds) - observers
        self.members = [
            Member(number, kind, folder / str(number), observer=number > voters)
            for number, kind in enumerate(kinds, 1)
        ]
        self.settings = {
            "tickTime": "500",
            "initLimit": "20",
            "syncLimit": "10",
            "maxClientCnxns": "0",
            "clientPortAddress": "127.0.0.1",
            "4lw.commands.whitelist": "*",
            "admin.enableServer": "false",
            "preAllocSize": "64",
            **(settings or {}),
        }
        self.properties = {
            "zookeeper.admin.enableServer": "false",
            "zookeeper.preAllocSize": "64",
            "zookeeper.extendedTypesEnabled": "true",
            "zookeeper.snapshot.trust.empty": "false",
            "znode.container.checkIntervalMs": "86400000",
            **(properties or {}),
        }
        self.clients: list[KazooClient] = []
        lines = [member.line for member in self.members]
        for member in self.members:
            member.prepare(self.settings, lines)

    def __getitem__(self, number: int) -> Member:
        return self.members[number - 1]

    @property
    def hosts(self) -> str:
        return ",".join(member.hosts for member in self.members)

    # processes

    def start(self, *numbers: int) -> None:
        """Start these members, all if none is named, and do not wait."""
        for number in numbers or range(1, len(self.members) + 1):
            self[number].start(self.properties)

    def form(self, *numbers: int) -> Member:
        """Start these members, and wait until they and all that run already serve; return who leads."""
        self.start(*numbers)
        return self.formed()

    def formed(self, patience: float = PATIENCE) -> Member:
        """Wait until every member that runs serves, and all follow one; return that one."""
        running = [member for member in self.members if member.process is not None]

        def settled() -> bool:
            modes = [member.mode() for member in running]
            return modes.count("leader") == 1 and set(modes) <= {"leader", "follower", "observer"}

        self.wait(settled, "the ensemble forms", patience)
        return next(member for member in running if member.mode() == "leader")

    def lead_by(self, number: int) -> Member:
        """Start all members, none of which runs, so that this one leads, which must be the highest voter.

        It and another one are a majority, and of two with the same history the higher number wins.
        """
        others = [member for member in self.members if member.number != number]
        assert all(member.process is None for member in self.members)
        for member in (others[0], self[number]):
            member.start(self.properties)
        self.formed()
        for member in others[1:]:
            member.start(self.properties)
        leader = self.formed()
        assert leader.number == number, f"{leader} leads"
        return leader

    def stop(self) -> None:
        """Stop all members, followers first: so nobody is elected in between."""
        for member in sorted(self.members, key=lambda each: each.mode() == "leader"):
            member.end()

    def become(self, number: int, kind: str) -> None:
        """Replace a member by one of another kind in the same directory, and wait until it serves."""
        self[number].end()
        self[number].kind = kind
        self.form(number)

    def wait(self, true: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Wait until something is so.  A member whose process ended by itself ends the waiting, too."""
        until = time.monotonic() + patience
        while not true():
            for member in self.members:
                if member.process is not None and member.process.poll() is not None:
                    raise AssertionError(f"{what}: {member.number} ended with {member.process.returncode}")
            if time.monotonic() > until:
                raise AssertionError(f"{what}: not within {patience} s: {self.members}")
            time.sleep(0.05)

    # clients

    def client(self, *numbers: int, timeout: float = 20.0, **more: object) -> KazooClient:
        """A client of these members, or of all, that is connected and patient."""
        hosts = ",".join(self[number].hosts for number in numbers) or self.hosts
        retry = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5, deadline=PATIENCE)
        words = {"timeout": timeout, "connection_retry": retry, "randomize_hosts": False, **more}
        client = KazooClient(hosts, **words)
        self.clients.append(client)
        client.start(PATIENCE)
        return client

    def close(self) -> None:
        """Everything of it is gone."""
        for client in self.clients:
            with suppress(Exception):
                client.stop()
                client.close()
        for member in self.members:
            member.kill()

    def last_words(self) -> str:
        """The ends of the logs of all members."""
        return "\n".join(
            f"===== {member.number} ({member.kind}) =====\n{member.said()[-6000:]}" for member in self.members
        )


@contextmanager
def ensemble(
    folder: Path,
    kinds: Sequence[str],
    *,
    observers: int = 0,
    settings: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
) -> Iterator[Ensemble]:
    """An ensemble of which nothing runs yet; its logs are shown if anything is raised in the block."""
    made = Ensemble(folder, kinds, observers=observers, settings=settings, properties=properties)
    try:
        yield made
    except BaseException:
        print(made.last_words())
        raise
    finally:
        made.close()
