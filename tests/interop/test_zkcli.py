"""zkCli, Apache's own client, through all its commands: our server makes it print what Apache's does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from .apache import FLAVORS, RELEASES, apache_server, debian_classpath, newer_classpath, require
from .conversation import Address, differences
from .ours import our_server

ZKCLI = Path("/usr/share/zookeeper/bin/zkCli.sh")

# Every command that zkCli's help lists, each with all its options, its refusals too.
SCRIPT = """\
ls /
ls -s /
create /a hello
create /a again
create /none/x
create -s /a/s- one
create -s /a/s- two
create -e /a/e ephemeral
create -e -s /a/es- both
create -c /a/c container
create -t 60000 /a/t ttl
create -t 60000 -s /a/ts- ttl
create -e -c /a/bad both
create -t 0 /a/bad ttl
create /a/e/x below
create /a/acl data world:anyone:ra
create /a/bad data nonsense
create /a/bad data nonsense:x:r
create no-slash
create /a/
create /empty
create /quoted "two words"
ls /a
ls -s /a
ls -R /a
ls -w /a
ls /none
create /a/watched x
get /a
get -s /a
get -w /a
set /a changed
get -s -w /none
get /empty
set -s /a again
set -v 2 /a third
set -v 2 /a refused
set /none x
set -s -v 3 /a fourth
stat /a
stat -w /a
delete /a/watched
set /a fifth
stat /none
stat /a/c
stat /a/t
getAcl /a
getAcl -s /a
getAcl /none
addauth digest ann:secret
setAcl /empty auth::cdrwa
getAcl /empty
setAcl -s -v 1 /empty world:anyone:cdrwa
setAcl -v 1 /empty world:anyone:cdrwa
setAcl -R /a auth::cdrwa,world:anyone:r
getAcl -s /a/s-0000000000
getAcl /a/e
setAcl /a nonsense
setAcl /none world:anyone:r
setAcl -R /a world:anyone:cdrwa
whoami
getEphemerals
getEphemerals /a/es
getEphemerals /none
getAllChildrenNumber /
getAllChildrenNumber /a
getAllChildrenNumber /none
sync /a
sync /none
addWatch /a
addWatch -m PERSISTENT /quoted
addWatch -m PERSISTENT_RECURSIVE /empty
addWatch -m NONSENSE /a
create /a/seen x
set /quoted seen
create /empty/below x
delete /empty/below
removewatches /quoted
removewatches /none
set /quoted unseen
stat -w /quoted
removewatches /quoted -d
ls -w /quoted
removewatches /quoted -c
stat -w /quoted
removewatches /quoted -a
removewatches /quoted -d -l
create /q limited
setquota -n 10 /q
listquota /q
setquota -b 100 /q
listquota /q
setquota -N 20 /q
setquota -B 200 /q
listquota /q
create /q/x 0123456789
set /q/x 01234567890123456789
listquota /q
ls -R /zookeeper
get /zookeeper/quota/q/zookeeper_limits
get /zookeeper/quota/q/zookeeper_stats
stat /zookeeper/quota/q/zookeeper_stats
setquota -n 1 /q/x
setquota -n 5 /none
setquota -n -3 /q
delquota -n /q
listquota /q
delquota -b /q
delquota -N /q
delquota -B /q
listquota /q
delquota /q
listquota /q
delquota /q
setquota -n 3 /zookeeper
delete -v 7 /q/x
delete /q
delete -v 1 /q/x
delete /q
delete /none
delete /zookeeper
deleteall /a -b 2
deleteall /none
ls -R /
config
config -c
config -s
config -w
reconfig -add server.5=localhost:1:2;3
reconfig -remove 5
reconfig -members server.1=localhost:1:2;3
reconfig -s -v 1 -remove 1
printwatches
printwatches off
stat -w /empty
set /empty unprinted
printwatches on
history
redo 2
redo 1000
version
nonsense
help
get
create
close
ls /
connect @server@
ls /
get -s /empty
quit
"""

# Goes between all commands: its answer comes through the thread that prints events, so those are printed by then,
# and not in the middle of the next command's line.
FENCE = "sync /\n"

HIDDEN = (
    (r"0x1[0-9a-f]{15}\b", "<session>"),
    (r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ 20\d\d", "<now>"),
    (r"127\.0\.0\.1:\d+", "<server>"),
    (r"localhost/|localhost:\d+", ""),
    # deleteall goes through children in the order in which the server lists them, which is none.
    (r"(type:NodeDeleted path:\S+) zxid: \d+", r"\1"),
)
# What the client itself says about its own state, whenever it gets round to it.
CHATTER = re.compile(
    r"^(WATCHER::|SLF4J|WatchedEvent state:(Closed|SyncConnected|Disconnected) type:None.*)?$"
)


def normalized(output: str) -> str:
    """The output, and behind it the events, which zkCli prints in a thread of their own."""
    for pattern, word in HIDDEN:
        output = re.sub(pattern, word, output)
    lines = [line.rstrip() for line in output.splitlines()]
    lines = sort_ids([line for line in lines if not CHATTER.match(line) and not line.startswith("SLF4J")])
    events = [line for line in lines if line.startswith("WatchedEvent")]
    answers = [line for line in lines if not line.startswith("WatchedEvent")]
    deletions = sorted(line for line in events if "NodeDeleted" in line)
    return "\n".join([*answers, *(line for line in events if "NodeDeleted" not in line), *deletions])


def sort_ids(lines: list[str]) -> list[str]:
    """whoami lists a set: two ids, in this script."""
    at = lines.index("Auth scheme: User") + 1 if "Auth scheme: User" in lines else len(lines)
    return [*lines[:at], *sorted(lines[at : at + 2]), *lines[at + 2 :]]


def run_zkcli(address: Address, command: list[str]) -> str:
    where = f"{address[0]}:{address[1]}"
    finished = subprocess.run(
        [*command, "-server", where],
        input=FENCE + SCRIPT.replace("\n", f"\n{FENCE}").replace("@server@", where),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        env={**os.environ, "CLIENT_JVMFLAGS": "-Xshare:auto -XX:TieredStopAtLevel=1"},
        check=False,
    )
    return normalized(finished.stdout)


def zkcli_of(release: str) -> list[str]:
    """The command that starts that release's zkCli."""
    if release == "3.8":
        debian_classpath()
        require(ZKCLI.exists(), "Debian's package zookeeper has no zkCli.sh")
        return [str(ZKCLI)]
    return ["java", "-cp", newer_classpath(), "org.apache.zookeeper.ZooKeeperMain"]


@pytest.mark.interop
@pytest.mark.parametrize("release", RELEASES)
def test_zkcli_prints_the_same(release: str) -> None:
    """zkCli cannot tell our server from Apache's."""
    command = zkcli_of(release)
    classpath = debian_classpath() if release == "3.8" else newer_classpath()
    with apache_server(classpath, FLAVORS["extended"]) as address:
        theirs = run_zkcli(address, command)
    with our_server("extended") as server:
        ours = run_zkcli(("127.0.0.1", server.port), command)
    assert "Created /a" in theirs
    assert "unprinted" in theirs.partition("Command not found nonsense")[2], "zkCli did not get to the end"
    if ours != theirs:
        pytest.fail(differences(ours, theirs), pytrace=False)
