"""``pyzkserver ensemble N``: a local ensemble with one command, each member a process, and a view of who leads."""

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .serving.port import reserve
from .storage.datadir import LOCK_FILE
from .storage.disk import RealDisk
from .terminal import how_to_stop

__all__ = ["run"]

_DESCRIPTION = """\
Starts a local ensemble of ZooKeeper servers, each a process of its own, and tells who leads whenever that changes.
Members that end are not started again: kill one (its pid is shown) to see the others go on.  How to start it
again in another terminal is shown then.
"""

_LOOK = 0.2  # seconds between two looks at the members
_WORD_TIMEOUT = 1.0
_MOST_MEMBERS = 255
"""One byte tells whose session it is, and no member is number 0."""


class _Seen(NamedTuple):
    """What a member answered to srvr."""

    mode: str
    zxid: str


def run(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    options = _parse(arguments)
    with contextlib.ExitStack() as stack:
        if options.data_dir is None:
            directory = Path(stack.enter_context(_temporary_directory()))
        else:
            directory = options.data_dir
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, _stop))
        try:
            ensemble = _LocalEnsemble(options, directory)
            stack.callback(ensemble.stop)
            ensemble.start()
            print(ensemble.greeting(temporary=options.data_dir is None), flush=True)
            for view in ensemble.views():
                print(view, flush=True)
        except KeyboardInterrupt:
            return 0
        except OSError as error:
            print(f"pyzkserver ensemble: {error}", file=sys.stderr)
            return 1
        words = ensemble.last_words()  # before a temporary directory is gone
    print(f"pyzkserver ensemble: all members have ended; what they said last:\n{words}", file=sys.stderr)
    return 1


def _temporary_directory() -> "tempfile.TemporaryDirectory[str]":
    """A member that was started again by hand may still write there when it is removed."""
    return tempfile.TemporaryDirectory(prefix="pyzkserver-", ignore_cleanup_errors=True)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pyzkserver ensemble",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "size", type=int, nargs="?", default=3, metavar="N", help="how many voting members (3)"
    )
    parser.add_argument("--observers", type=int, default=0, metavar="N", help="how many observers (0)")
    parser.add_argument(
        "--port",
        type=int,
        default=2181,
        metavar="N",
        help="the first member's client port; others follow (2181)",
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="keep their data here; else it is gone when they stop"
    )
    parser.add_argument(
        "--tick-time", type=int, default=2000, metavar="MS", help="a tick in milliseconds (2000)"
    )
    options = parser.parse_args(arguments)
    if options.size < 2:
        parser.error("an ensemble has 2 voting members at least; 3 or 5 are usual")
    if options.observers < 0:
        parser.error(f"--observers {options.observers}: there are 0 or more")
    if options.size + options.observers > _MOST_MEMBERS:
        parser.error(
            f"{options.size + options.observers} members: there may be {_MOST_MEMBERS}, as session ids begin with a"
            " member's number"
        )
    if options.tick_time < 1:
        parser.error(f"--tick-time {options.tick_time}: a tick has a millisecond at least")
    highest = 65_536 - options.size - options.observers
    if not 0 <= options.port <= highest:
        parser.error(
            f"--port {options.port}: must be from 0 to {highest}, as each member needs a port; 0 takes any"
        )
    return options


class _LocalEnsemble:
    """The processes of the members, each with a zoo.cfg, a data directory and a log file in ``directory``."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self._directory = directory.absolute()  # whoever starts a member again may be elsewhere
        self._tick_time = options.tick_time
        self._size = options.size
        self._count = options.size + options.observers
        self._locked = contextlib.ExitStack()
        with contextlib.ExitStack() as undone:
            undone.callback(self._locked.close)
            self._lock()
            self._reserve_ports(options.port)
            undone.pop_all()
        self._processes: list[subprocess.Popen[bytes]] = []

    def _lock(self) -> None:
        """Have the directory to itself.  Raises OSError where it, or that of a member, is in use."""
        disk = RealDisk()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"--data-dir {self._directory}: {error.strerror}. It must be a directory, or one that can be made"
            ) from None
        members = [self._directory / str(sid) / "data" for sid in range(1, self._count + 1)]
        with contextlib.ExitStack() as seen:
            for each in (self._directory, *filter(Path.is_dir, members)):
                unlock = disk.lock(each / LOCK_FILE)
                if unlock is None:
                    raise OSError(
                        f"{each} is in use by another process: stop that one, or choose another --data-dir"
                    )
                # What belongs to a member is only looked at: the member will lock it.
                (self._locked if each is self._directory else seen).callback(unlock)

    def _reserve_ports(self, first: int) -> None:
        ports = range(first, first + self._count) if first else [0] * self._count
        self._clients = [_reserved(port) for port in ports]
        self._links = [(_reserved(0), _reserved(0)) for _ in range(self._count)]

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{_port_of(client)}" for client in self._clients)

    def start(self) -> None:
        lines = "".join(self._server_line(sid) for sid in range(1, self._count + 1))
        for sid in range(1, self._count + 1):
            home = self._directory / str(sid)
            (home / "data").mkdir(parents=True, exist_ok=True)
            (home / "data" / "myid").write_text(f"{sid}\n")
            zoo_cfg = self._zoo_cfg(sid)
            zoo_cfg.write_text(
                f"tickTime={self._tick_time}\ninitLimit=10\nsyncLimit=5\ndataDir={home / 'data'}\n"
                f"4lw.commands.whitelist=*\n{lines}"
            )
            with (home / "log").open("ab") as log:
                # Their standard input ends with this process, however it ends: none of them is left behind.
                command = [sys.executable, "-m", "pyzkserver", "--until-eof", str(zoo_cfg)]
                # In a group of their own: Ctrl-C is for the one that stops them all.
                self._processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                    )
                )

    def _server_line(self, sid: int) -> str:
        quorum, election = map(_port_of, self._links[sid - 1])
        role = "participant" if sid <= self._size else "observer"
        client = _port_of(self._clients[sid - 1])
        return f"server.{sid}=127.0.0.1:{quorum}:{election}:{role};127.0.0.1:{client}\n"

    def greeting(self, *, temporary: bool) -> str:
        kept = "gone when they stop" if temporary else "kept"
        return "\n".join(
            [
                f"{self._count} members; their data and logs are in {self._directory} ({kept}).",
                f'  kazoo:  KazooClient("{self.hosts}")',
                f"  zkCli:  zkCli.sh -server {self.hosts}",
                f"  stop:   {how_to_stop()}",
            ]
        )

    def last_words(self) -> str:
        """The end of each member's log."""
        lines = []
        for sid in range(1, self._count + 1):
            said = (self._directory / str(sid) / "log").read_text(errors="replace").splitlines()
            lines.append(f"  {sid}  {said[-1] if said else '(nothing)'}")
        return "\n".join(lines)

    def views(self) -> Iterator[str]:
        """What the members do, whenever that has changed; ends when all have ended."""
        shown: list[str] = []
        while True:
            seen = [self._look(sid) for sid in range(1, self._count + 1)]
            modes = [one.mode for one in seen]
            if modes != shown:
                shown = modes
                yield self._view(seen)
            if all(mode == "ended" for mode in modes):
                return
            time.sleep(_LOOK)

    def _view(self, seen: list[_Seen]) -> str:
        leaders = [str(sid) for sid, one in enumerate(seen, 1) if one.mode == "leader"]
        headline = f"member {' and '.join(leaders)} leads" if leaders else "nobody leads"
        rows = [f"{time.strftime('%H:%M:%S')}  {headline}"]
        for sid, one in enumerate(seen, 1):
            port, pid = _port_of(self._clients[sid - 1]), self._processes[sid - 1].pid
            who = f"pid {pid}"
            if one.mode == "ended":
                who = f"was pid {pid}; to start it again: pyzkserver {self._zoo_cfg(sid)}"
            elif self._processes[sid - 1].poll() is not None:
                who = "started by hand"
            rows.append(f"  {sid}  127.0.0.1:{port:<5}  {one.mode:<10} {one.zxid:<14} {who}")
        return "\n".join(rows)

    def _zoo_cfg(self, sid: int) -> Path:
        return self._directory / str(sid) / "zoo.cfg"

    def _look(self, sid: int) -> _Seen:
        said = _srvr(_port_of(self._clients[sid - 1]))
        if not said and self._processes[sid - 1].poll() is not None:
            return _Seen("ended", "")
        lines = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
        return _Seen(lines.get("Mode", "looking"), lines.get("Zxid", ""))

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        for reserved in (*self._clients, *(one for pair in self._links for one in pair)):
            reserved.close()
        self._locked.close()


def _reserved(port: int) -> socket.socket:
    """A port that nobody but a member gets.  Raises OSError where somebody has it."""
    try:
        return reserve(port)
    except OSError as error:
        raise OSError(f"port {port} is taken ({error.strerror}): choose others with --port N") from None


def _port_of(reserved: socket.socket) -> int:
    port: int = reserved.getsockname()[1]
    return port


def _srvr(port: int) -> str:
    """What a member answers to the word srvr; nothing where nobody does."""
    try:
        with socket.create_connection(("127.0.0.1", port), _WORD_TIMEOUT) as connection:
            connection.sendall(b"srvr")
            pieces = []
            while piece := connection.recv(4096):
                pieces.append(piece)
            return b"".join(pieces).decode()
    except OSError:
        return ""
