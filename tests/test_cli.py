"""The command ``pyzkserver``: what its words mean, what it says, and with which status it ends."""

import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from pyzkserver import cli, ensemble, terminal
from pyzkserver._version import __version__
from pyzkserver.config import FOUR_LETTER_WORDS, Config
from pyzkserver.errors import PyzkserverError
from pyzkserver.storage.disk import RealDisk

ROOT = Path(__file__).parent.parent
PATIENCE = 30


# --- what the words mean, without starting anything ---------------------------------------------------------


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """The configuration that the command would run with."""
    configs: list[Config] = []
    monkeypatch.setattr(cli, "_log_to_stderr", lambda options: None)

    def run(config: Config, *, quiet: bool, until_eof: bool) -> None:
        configs.append(config)

    monkeypatch.setattr(terminal, "run", run)

    def understand(*words: str) -> Config:
        assert cli.main(words) == 0
        return configs.pop()

    return understand


def test_without_words_it_is_a_server_for_development(understood: Callable[..., Config]) -> None:
    """On this machine only, with its data in memory; all four-letter words, and TTL nodes."""
    config = understood()
    assert (config.client_port_address, config.client_port, config.data_dir) == ("127.0.0.1", 2181, None)
    assert config.four_letter_words == FOUR_LETTER_WORDS
    assert config.extended_types_enabled
    assert config.tick_time == 2000


def test_the_options(understood: Callable[..., Config]) -> None:
    """--host, --port, --tick-time and --max-client-cnxns."""
    config = understood("--host", "0.0.0.0", "--port", "0", "--tick-time", "100", "--max-client-cnxns", "7")
    assert (config.client_port_address, config.client_port) == ("0.0.0.0", 0)
    assert (config.tick_time, config.max_client_cnxns) == (100, 7)


def test_properties_without_a_file(understood: Callable[..., Config]) -> None:
    """-D gives what Java's would; a key without a value is empty; what is given is not overridden."""
    config = understood(
        "-Dzookeeper.4lw.commands.whitelist=srvr,ruok",
        "-Dzookeeper.extendedTypesEnabled=false",
        "-Dzookeeper.maxCnxns=3",
        "-D",
        "jute.maxbuffer=4096",
    )
    assert config.four_letter_words == {"srvr", "ruok"}
    assert not config.extended_types_enabled
    assert (config.max_cnxns, config.jute_max_buffer) == (3, 4096)
    # An empty superDigest is nobody's.
    assert not understood("-Dzookeeper.DigestAuthenticationProvider.superDigest").super_digest


def test_a_zoo_cfg(understood: Callable[..., Config], tmp_path: Path) -> None:
    """As Apache's server reads it: its defaults, not those of a server for development; options are stronger."""
    file = tmp_path / "zoo.cfg"
    file.write_text("clientPort=2199\ntickTime=500\nmaxClientCnxns=5\n")
    config = understood("-Dzookeeper.maxCnxns=9", str(file))
    assert (config.client_port, config.tick_time, config.max_client_cnxns) == (2199, 500, 5)
    assert config.max_cnxns == 9
    assert config.four_letter_words == {"srvr"}
    assert not config.extended_types_enabled
    config = understood(str(file), "--port", "0", "--tick-time", "700")
    assert (config.client_port, config.tick_time) == (0, 700)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("2199", "data"), (2199, 2000, 60)),
        (("2199", "data", "500"), (2199, 500, 60)),
        (("2199", "data", "500", "0"), (2199, 500, 0)),
    ],
)
def test_the_words_of_apaches_server(
    understood: Callable[..., Config], words: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    """PORT DATADIR [TICKTIME [MAXCNXNS]]."""
    config = understood(*words)
    assert (config.client_port, config.tick_time, config.max_client_cnxns) == expected
    assert config.data_dir == Path("data")
    assert config.four_letter_words == {"srvr"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a", "b", "c", "d", "e"], ["5 words", "PORT DATADIR"]),
        (["x2181", "data"], ["'x2181'", "a number was expected"]),
        (["2181", "data", "2.5"], ["'2.5'", "a number was expected"]),
        (["--port", "65536"], ["65536", "65535"]),
        (["--tick-time", "0"], ["tick_time", "from 1 to"]),
        (["-Dzookeeper.maxCnxns=many"], ["zookeeper.maxCnxns", "many", "whole number"]),
        (["/no/such/zoo.cfg"], ["/no/such/zoo.cfg", "cannot be read", "No such file"]),
        (["2199"], ["2199: a port alone is --port 2199"]),
        (["2181", ""], ["an empty word"]),
        (["/"], ["/ is a directory", "pyzkserver 2181 /"]),
        (["ensembel", "3"], ["did you mean ensemble?"]),
        (["snapshots"], ["snapshots is no file, and no command", "did you mean snapshot?"]),
    ],
)
def test_words_that_cannot_be_used(
    words: list[str], told: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and one line that says which word and what is allowed."""
    monkeypatch.setattr(cli, "_log_to_stderr", lambda options: None)
    assert cli.main(words) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("pyzkserver: ")
    assert output.err.count("\n") == 1
    for text in told:
        assert text in output.err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("clientPort=http", ["clientPort", "http", "65535"]),
        ("tickTme=2000", ["tickTme", "tickTime"]),
        ("minSessionTimeout=90000", ["minSessionTimeout", "maxSessionTimeout"]),
        ("server.1=a:1:2\nserver.2=b:1:1", ["server.2", "two different ports"]),
    ],
)
def test_a_zoo_cfg_that_cannot_be_used(
    line: str,
    told: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Status 2; file, line, key, and what is allowed."""
    monkeypatch.setattr(cli, "_log_to_stderr", lambda options: None)
    file = tmp_path / "zoo.cfg"
    file.write_text(f"# a comment\ndataDir=data\n{line}\n")
    assert cli.main([str(file)]) == 2
    error = capsys.readouterr().err
    assert re.search(rf"{re.escape(str(file))}:[34]\b", error), error
    for text in told:
        assert text in error


def test_how_it_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """1 for what else keeps it from serving, and 130 for an interrupt that came too early to be a stop."""
    monkeypatch.setattr(cli, "_log_to_stderr", lambda options: None)

    def fail(error: BaseException) -> Callable[..., None]:
        def run(config: Config, *, quiet: bool, until_eof: bool) -> None:
            raise error

        return run

    monkeypatch.setattr(terminal, "run", fail(PyzkserverError("the disk is full")))
    assert cli.main([]) == 1
    assert capsys.readouterr().err == "pyzkserver: the disk is full\n"
    monkeypatch.setattr(terminal, "run", fail(KeyboardInterrupt()))
    assert cli.main([]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "level", "quiet"),
    [([], logging.INFO, False), (["-v"], logging.DEBUG, False), (["-q"], logging.WARNING, True)],
)
def test_how_much_it_says(words: list[str], level: int, quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """-v logs more, -q only what is wrong, and then there is no greeting either; the log goes to stderr."""
    said: list[dict[str, object]] = []
    heard: list[bool] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **settings: said.append(settings))
    monkeypatch.setattr(terminal, "run", lambda config, *, quiet, until_eof: heard.append(quiet))
    assert cli.main(words) == 0
    assert [(each["level"], each["stream"]) for each in said] == [(level, sys.stderr)]
    assert heard == [quiet]


class StopAtOnce:
    """Signals, of which one comes as soon as the server is ready."""

    def __init__(self, *numbers: signal.Signals) -> None:
        pass

    def __enter__(self) -> "StopAtOnce":
        return self

    def __exit__(self, *anything: object) -> None:
        pass

    def __aiter__(self) -> "StopAtOnce":
        return self

    async def __anext__(self) -> signal.Signals:
        return signal.SIGTERM


@pytest.mark.parametrize("quiet", [False, True])
def test_a_quiet_server_does_not_greet(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scripts that know the port need no greeting."""
    monkeypatch.setattr(trio, "open_signal_receiver", StopAtOnce)
    trio.run(terminal._serve, Config(client_port=0), quiet, False)
    assert ("is ready on" not in capsys.readouterr().out) is quiet


@pytest.mark.parametrize(
    ("option", "told"),
    [("--version", f"pyzkserver {__version__}\n"), ("--help", "zoo.cfg"), ("--help", "QuorumPeerMain")],
)
def test_help_and_version(option: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both go to stdout, with status 0."""
    with pytest.raises(SystemExit) as ended:
        cli.main([option])
    assert ended.value.code == 0
    assert told in capsys.readouterr().out


def test_an_option_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, as for everything that cannot be used."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--prot", "2181", "--poort"])
    assert ended.value.code == 2
    assert "usage: pyzkserver" in capsys.readouterr().err


# --- the command itself -------------------------------------------------------------------------------------


class Command:
    """A running ``python -m pyzkserver``."""

    def __init__(self, *words: str) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "pyzkserver", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )

    def greeting(self) -> str:
        """All that it says up to the line about stopping: then it is ready."""
        assert self.process.stdout is not None
        text, deadline = b"", time.monotonic() + PATIENCE
        while b"stop:" not in text:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"only this came in time: {text!r}"
            some = os.read(self.process.stdout.fileno(), 4096)
            assert some, f"it ended: {self.process.communicate(timeout=PATIENCE)}"
            text += some
        return text.decode()

    def ready(self) -> int:
        """Its port, when it serves."""
        found = re.search(r"is ready on 127\.0\.0\.1:(\d+);", self.greeting())
        assert found
        return int(found[1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Its exit status, and what it logged."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        _, log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, log.decode()


@pytest.fixture
def command() -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start(*words: str) -> Command:
        started.append(Command(*words))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.communicate()


def word(port: int, name: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
        sock.sendall(name)
        return b"".join(iter(lambda: sock.recv(4096), b"")).decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_from_greeting_to_farewell(command: Callable[..., Command], number: signal.Signals) -> None:
    """It says how to reach it when it is ready and not before, serves, and stops when asked to, with status 0
    and nothing that looks like an accident, though a client is still connected."""
    running = command("--port", "0")
    lines = running.greeting().splitlines()
    found = re.fullmatch(
        rf"pyzkserver {re.escape(__version__)} is ready on (127\.0\.0\.1:(\d+)); .*in memory.*", lines[0]
    )
    assert found
    hosts = found[1]
    assert lines[1:] == [
        f'  kazoo:  KazooClient("{hosts}")',
        f"  zkCli:  zkCli.sh -server {hosts}",
        "  stop:   SIGTERM",
    ]
    with socket.create_connection(("127.0.0.1", int(found[2])), timeout=PATIENCE) as client:
        assert word(int(found[2]), b"ruok") == "imok"
        status, log = running.stop(number)
        assert client.recv(1) == b""
    assert status == 0
    assert f"{number.name}: stopping" in log
    assert "Traceback" not in log
    assert "Exception ignored" not in log


def test_one_that_can_be_reached_from_elsewhere_says_so(command: Callable[..., Command]) -> None:
    """An address that a client here can use, and that others can come, too."""
    [said, *_] = command("--host", "0.0.0.0", "--port", "0").greeting().splitlines()
    assert re.search(r" is ready on 127\.0\.0\.1:\d+, and on all other addresses of this machine; ", said)


def test_a_zoo_cfg_and_properties(command: Callable[..., Command], tmp_path: Path) -> None:
    """What scripts give to Apache's QuorumPeerMain starts the same server; what has no meaning here is said."""
    file = tmp_path / "zoo.cfg"
    file.write_text(
        "tickTime=700\nclientPort=0\nclientPortAddress=127.0.0.1\nmaxClientCnxns=5\nadmin.serverPort=8080\n"
        "4lw.commands.whitelist=conf,ruok\n"
    )
    running = command("-Dzookeeper.maxCnxns=77", "-Dzookeeper.extendedTypesEnabled=true", str(file))
    port = running.ready()
    conf = word(port, b"conf")
    assert "tickTime=700\n" in conf
    assert "maxClientCnxns=5\n" in conf
    assert "maxSessionTimeout=14000\n" in conf
    assert "not in the whitelist" in word(port, b"stat")
    status, log = running.stop()
    assert status == 0
    assert "admin.serverPort" in log


def test_a_port_and_a_data_directory(command: Callable[..., Command], tmp_path: Path) -> None:
    """The words of Apache's ZooKeeperServerMain; the greeting says where the data is."""
    running = command("0", str(tmp_path / "data"), "900")
    greeting = running.greeting()
    assert str(tmp_path / "data") in greeting
    found = re.search(r"127\.0\.0\.1:(\d+)", greeting)
    assert found
    assert "Mode: standalone" in word(int(found[1]), b"srvr")
    assert running.stop()[0] == 0


def test_a_port_that_is_taken(command: Callable[..., Command]) -> None:
    """Status 1, without a trace, and with what to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, log = command("--port", str(port)).ended()
    assert status == 1
    assert f"pyzkserver: 127.0.0.1:{port} is taken already" in log
    assert "--port N" in log
    assert "Traceback" not in log


def test_quiet(command: Callable[..., Command]) -> None:
    """With -q what is wrong is still said, and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, log = command("-q", "--port", str(taken.getsockname()[1])).ended()
    assert status == 1
    assert log.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_where_nobody_can_read_the_greeting() -> None:
    """The reader of a pipe is gone, or the disk is full: the server serves all the same, and ends as ever."""
    command = [sys.executable, "-m", "pyzkserver", "--port", "0"]
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        assert "cannot write to standard output: No space left" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read().count("\n") == 1


def test_without_a_standard_input() -> None:
    """Some of those who start services close it: then there is no Ctrl-C, and nothing to wait for the end of."""

    def closed(*options: str) -> "subprocess.Popen[str]":
        line = f'exec "{sys.executable}" -m pyzkserver --port 0 {" ".join(options)} <&-'
        return subprocess.Popen(
            ["sh", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    with closed() as process:
        assert process.stdout is not None
        assert any("stop:   SIGTERM" in said for said in process.stdout)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    with closed("--until-eof") as process:
        assert process.stdout is not None
        assert any("standard input has ended" in said for said in process.stdout)
        assert process.wait(PATIENCE) == 0


def test_help_in_any_encoding() -> None:
    """What a terminal has no character for is written otherwise."""
    command = [sys.executable, "-m", "pyzkserver", "--help"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "pyzkserver log FILE\\u2026" in done.stdout


# --- a local ensemble ---------------------------------------------------------------------------------------


def test_an_ensemble_with_one_command() -> None:
    """Each member is a process; it is told who leads, also after the leader was killed, and how that is
    started again; SIGINT stops them all."""
    command = [sys.executable, "-m", "pyzkserver", "ensemble", "3", "--port", "0", "--tick-time", "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def until(pattern: str) -> re.Match[str]:
            text = ""
            while (found := re.search(pattern, text)) is None:
                ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
                assert ready, text
                text += os.read(process.stdout.fileno(), 4096).decode()
            return found

        try:
            led = until(r"member (\d) leads\n(?s:.*?)  leader .*pid (\d+)")
            os.kill(int(led[2]), signal.SIGKILL)
            again = until(rf"member ((?!{led[1]})\d) leads\n(?s:.*) ended .*pid {led[2]}\b")
            pids = {int(pid) for pid in re.findall(r"pid (\d+)", again.string)}
            zoo_cfg = re.search(r"to start it again: pyzkserver (\S+)", again.string)
            assert zoo_cfg is not None
            with subprocess.Popen([sys.executable, "-m", "pyzkserver", "-q", zoo_cfg[1]]) as by_hand:
                try:
                    until(r"(follower|leader) .*started by hand")
                finally:
                    by_hand.kill()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("stdin", [subprocess.PIPE, subprocess.DEVNULL])
def test_it_stops_when_whoever_started_it_is_gone(stdin: int) -> None:
    """So that the members of an ensemble are not left behind, however the command ends that started them."""
    command = [sys.executable, "-m", "pyzkserver", "--port", "0", "--until-eof"]
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        if process.stdin is not None:
            assert process.stdout is not None
            assert b"is ready" in process.stdout.readline()
            process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_a_port_that_is_taken_keeps_an_ensemble_from_starting() -> None:
    """It says which, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "pyzkserver", "ensemble", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert done.stderr.count("\n") == 1, "a traceback is for nobody"


@pytest.mark.parametrize("used", ["", "2/data"])
def test_a_directory_that_is_in_use_is_left_alone(
    used: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By another ensemble, or by a member that is left of one: nothing is written over what they go by."""
    (tmp_path / "2" / "data").mkdir(parents=True)
    (tmp_path / "2" / "zoo.cfg").write_text("theirs")
    unlock = RealDisk().lock(tmp_path / used / "pyzkserver.lock")
    assert unlock is not None
    try:
        assert ensemble.run(["3", "--port", "0", "--data-dir", str(tmp_path)]) == 1
    finally:
        unlock()
    told = capsys.readouterr().err
    assert f"{tmp_path / used} is in use" in told
    assert "--data-dir" in told
    assert (tmp_path / "2" / "zoo.cfg").read_text() == "theirs"
    assert not (tmp_path / "1").exists()


def test_a_second_ensemble_on_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first one's lock is what it meets; when the first has stopped, it may begin."""
    options = ensemble._parse(["2", "--port", "0", "--data-dir", str(tmp_path)])
    first = ensemble._LocalEnsemble(options, tmp_path)
    assert ensemble.run(["2", "--port", "0", "--data-dir", str(tmp_path)]) == 1
    first.stop()
    ensemble._LocalEnsemble(options, tmp_path).stop()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--port", "65535"], "--port 65535: must be from 0 to 65533"),
        (["2", "--observers", "-1"], "--observers -1"),
        (["--tick-time", "0"], "--tick-time 0"),
        (["1"], "2 voting members"),
        (["255", "--observers", "1"], "256 members: there may be 255"),
    ],
)
def test_ensembles_that_there_cannot_be(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is said before anything is started."""
    with pytest.raises(SystemExit) as ended:
        ensemble.run(words)
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


def test_a_data_directory_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says which option, and what is asked of it."""
    (tmp_path / "file").touch()
    assert ensemble.run(["3", "--port", "0", "--data-dir", str(tmp_path / "file")]) == 1
    assert f"--data-dir {tmp_path / 'file'}: File exists. It must be a directory" in capsys.readouterr().err


def test_when_all_members_end_it_is_said_why(tmp_path: Path) -> None:
    """Their logs may be in a directory that is gone with them."""
    for sid in ("1", "2"):
        data = tmp_path / sid / "data"
        data.mkdir(parents=True)
        (data / "version-2").write_text("in the way")
    command = [
        sys.executable,
        "-m",
        "pyzkserver",
        "ensemble",
        "2",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert "all members have ended" in done.stderr
    assert done.stderr.count(str(tmp_path)) == 2, done.stderr
