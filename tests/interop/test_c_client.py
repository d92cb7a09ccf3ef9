"""The C client's shell, cli_mt of zookeeper-bin: with our server it prints what it does with Apache's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from .apache import FLAVORS, apache_server, debian_classpath, require
from .conversation import Address, differences
from .ours import our_server

CLI = Path("/usr/lib/zookeeper/bin/cli_mt")
LAST = "/the-end"

SCRIPT = f"""\
addauth digest ann:secret
create /a
create /a
create +e /e
create +s /s
create +es /es
create +c /c
create +t=60000 /t
create2 /two
create2 +e /two-e
create /a/x
get /a
set /a hello
get /a
exists /a
wexists /a
wexists /none
set /a again
create /none
exists /none
ls /
ls2 /
ls /a
ls2 /none
getacl /a
getacl /none
delete /a
delete /a/x
delete /none
delete /none
removewatch /a
sync /a
myid
config
reconfig -remove 1
get /missing
ls /
sync {LAST}
"""

HIDDEN = (
    (r"0x1[0-9a-f]{14,15}\b|\b1[0-9a-f]{14,15}\b", "<session>"),
    (r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d 20\d\d", "<now>"),
    (r"time = -?\d+ msec", "time"),
    (r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d,\d+:\d+\(0x[0-9a-f]+\)", "<log>"),
)


def normalized(output: str) -> str:
    """The output without what differs from run to run: the shell's echo and the order of lists."""
    for pattern, word in HIDDEN:
        output = re.sub(pattern, word, output)
    lines: list[str] = []
    names: list[str] = []  # a run of child names
    errors: list[str] = []  # of wexists, which does not wait for what was asked before it to be printed
    for line in output.splitlines():
        if line.startswith("\t") and "=" not in line:
            names.append(line)
        elif line.startswith("Error"):
            errors.append(line)
        elif not line.startswith(("Creating [", "Watcher SESSION_EVENT", "Got a new session", "Quitting")):
            lines += [*sorted(names), line]
            names = []
    return "\n".join([*lines, *errors])


def run_cli(address: Address) -> str:
    """Runs the script.  Quits when the last answer is there, as quitting fails what is unanswered."""
    process = subprocess.Popen(
        [str(CLI), "-h", f"{address[0]}:{address[1]}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    watchdog = threading.Timer(60, kill)
    watchdog.start()
    output = ""
    try:
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(SCRIPT)
            process.stdin.flush()
            for line in process.stdout:
                output += line
                if line.startswith(f"[{LAST}]"):
                    process.stdin.write("quit\n")
                    process.stdin.flush()
    finally:
        watchdog.cancel()
        watchdog.join()
        kill()
    return normalized(output)


@pytest.mark.interop
def test_cli_mt_prints_the_same() -> None:
    """The C client cannot tell our server from Apache's."""
    require(CLI.exists(), "Debian's package zookeeper-bin is not installed")
    with apache_server(debian_classpath(), FLAVORS["extended"]) as address:
        theirs = run_cli(address)
    with our_server("extended") as server:
        ours = run_cli(("127.0.0.1", server.port))
    assert f"[{LAST}]: rc = 0" in theirs, theirs
    if ours != theirs:
        pytest.fail(differences(ours, theirs), pytrace=False)
