"""A real process on a real disk that takes no more: it stops, says why, and keeps what it acknowledged."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, SessionExpiredError

LARGEST = 200_000
"""Bytes of a file: what the kernel refuses beyond it, it refuses in the middle of a write, as a full disk does."""
PIECE = b"x" * 5000


LIMITED = f"""
import resource, sys
from pyzkserver.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({LARGEST}, {LARGEST}))
sys.exit(main(sys.argv[1:]))
"""
UNLIMITED = "import sys; from pyzkserver.cli import main; sys.exit(main(sys.argv[1:]))"


class Server:
    """One process, from its first word to its last."""

    def __init__(self, folder: Path, program: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder / "zoo.cfg")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline().decode()
        assert " is ready on 127.0.0.1:" in greeting, greeting
        self.hosts = "127.0.0.1:" + greeting.partition("127.0.0.1:")[2].split(";")[0]

    def end(self) -> tuple[int, str]:
        """Its exit status, and what it had to say."""
        self.process.terminate()
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said.decode()


def client_of(server: Server) -> KazooClient:
    client = KazooClient(
        server.hosts, timeout=30, connection_retry={"max_tries": 0}, command_retry={"max_tries": 0}
    )
    client.start(timeout=60)
    return client


def test_a_log_that_cannot_grow(tmp_path: Path) -> None:
    """Neither is the write answered that did not fit, nor is one lost that was."""
    (tmp_path / "zoo.cfg").write_text(
        f"dataDir={tmp_path}/data\nclientPort=0\nclientPortAddress=127.0.0.1\npreAllocSize=16\n"
    )
    server = Server(tmp_path, LIMITED)
    client = client_of(server)
    client.create("/a")
    acknowledged: list[str] = []
    with suppress(ConnectionLoss, SessionExpiredError):
        while len(acknowledged) < LARGEST // len(PIECE):
            acknowledged.append(client.create("/a/", PIECE, sequence=True))
    assert 30 < len(acknowledged) < LARGEST // len(PIECE)
    client.stop()
    client.close()
    status, said = server.end()
    assert status == 1
    assert said.count("Traceback") == 0
    log = tmp_path / "data" / "version-2" / "log.1"
    assert f"cannot write the transaction log {log}: File too large. The server stops" in said
    server = Server(tmp_path, UNLIMITED)
    client = client_of(server)
    assert {f"/a/{name}" for name in client.get_children("/a")} == set(acknowledged)
    assert all(client.get(path)[0] == PIECE for path in acknowledged)
    client.stop()
    client.close()
    assert server.end()[0] == 0
