"""Reconfiguration of ensembles of processes, each member Apache's or ours, through kazoo and zkCli."""

import os
import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from kazoo.exceptions import (
    BadArgumentsError,
    BadVersionError,
    ConnectionLoss,
    NewConfigNoQuorumError,
    NoAuthError,
)

from .apache import require
from .ensemble import JAVA, PYTHON, Ensemble, Member, ensemble
from .test_zkcli import ZKCLI

pytestmark = [pytest.mark.slow, pytest.mark.interop, pytest.mark.timeout(400)]

SETTINGS = {"reconfigEnabled": "true"}
PROPERTIES = {"zookeeper.skipACL": "yes"}
MIXTURES = [
    (PYTHON, PYTHON, PYTHON),
    (JAVA, JAVA, PYTHON),
    (PYTHON, PYTHON, JAVA),
    (JAVA, PYTHON, JAVA),
]


def add_member(members: Ensemble, number: int, kind: str) -> Member:
    """A member that the others do not know yet; it knows them."""
    joiner = Member(number, kind, members[1].folder.parent / str(number))
    members.members.append(joiner)
    joiner.prepare(members.settings, [member.line for member in members.members])
    return joiner


def line(member: Member) -> str:
    role = "observer" if member.observer else "participant"
    return f"{member.line.removesuffix(':observer')}:{role};127.0.0.1:{member.client_port}"


def config(members: Ensemble, number: int) -> tuple[str, int]:
    """The text and the version of the node's stat, as this member shows them."""
    client = members.client(number)
    try:
        client.sync("/zookeeper/config")
        data, stat = client.get("/zookeeper/config")
        return data.decode(), stat.version
    finally:
        client.stop()
        client.close()


def same_config(members: Ensemble, *numbers: int) -> str:
    """What all of them show, once they show the same."""
    until = time.monotonic() + 30
    while True:
        shown = {config(members, number) for number in numbers}
        if len(shown) == 1:
            text, version = shown.pop()
            assert version == -1
            return text
        assert time.monotonic() < until, shown
        time.sleep(0.2)


def ids(text: str) -> set[int]:
    return {int(number) for number in re.findall(r"^server\.(\d+)=", text, re.MULTILINE)}


@pytest.mark.parametrize("kinds", MIXTURES, ids="-".join)
@pytest.mark.parametrize("joining", [PYTHON, JAVA])
def test_a_member_joins_and_the_leader_leaves(kinds: tuple[str, ...], joining: str, tmp_path: Path) -> None:
    """Under writes: a fourth member joins; then the leader is taken out, and hands over to another.

    All show the same configuration afterwards, also those that were started anew from their files.
    """
    with ensemble(tmp_path, kinds, settings=SETTINGS, properties=PROPERTIES) as members:
        members.lead_by(3)
        client = members.client(1, 2)
        client.create("/before", b"1")
        joiner = add_member(members, 4, joining)
        joiner.start(members.properties)
        members.formed()
        assert ids(same_config(members, 1, 2, 3, 4)) == {1, 2, 3}
        text, _ = client.reconfig(joining=line(joiner), leaving=None, new_members=None)
        assert ids(text.decode()) == {1, 2, 3, 4}
        client.create("/joined", b"2")
        assert same_config(members, 1, 2, 3, 4) == text.decode()
        version = int(text.decode().rpartition("=")[2], 16)
        with pytest.raises(BadVersionError):
            client.reconfig(joining=None, leaving="3", new_members=None, from_config=version + 1)
        with suppress(ConnectionLoss):  # its member begins anew under another leader
            client.reconfig(joining=None, leaving="3", new_members=None, from_config=version)
        client.retry(client.create, "/left", b"3")
        members[3].end()
        leader = members.formed()
        assert leader.number in (1, 2, 4)
        shown = same_config(members, 1, 2, 4)
        assert ids(shown) == {1, 2, 4}
        members[1].end()
        members[1].start(members.properties)
        members.formed()
        assert same_config(members, 1) == shown
        assert set(client.retry(client.get_children, "/")) >= {"before", "joined", "left"}
        zoo_cfg = (members[1].folder / "zoo.cfg").read_text()
        assert f"zoo.cfg.dynamic.{shown.rpartition('=')[2]}" in zoo_cfg
        assert "server." not in zoo_cfg


@pytest.mark.parametrize("kinds", [(PYTHON, PYTHON, PYTHON), (JAVA, PYTHON, JAVA)], ids="-".join)
def test_a_voter_becomes_an_observer_and_votes_again(kinds: tuple[str, ...], tmp_path: Path) -> None:
    with ensemble(
        tmp_path, kinds, settings=SETTINGS | {"standaloneEnabled": "false"}, properties=PROPERTIES
    ) as members:
        members.lead_by(3)
        client = members.client(1)
        second = members[2]
        second.observer = True
        client.reconfig(joining=line(second), leaving=None, new_members=None)
        members.wait(lambda: second.mode() == "observer", "2 observes")
        client.retry(client.create, "/a", b"")
        second.observer = False
        client.reconfig(joining=line(second), leaving=None, new_members=None)
        members.wait(lambda: second.mode() == "follower", "2 follows")
        client.retry(client.create, "/b", b"")
        text = ",".join(line(member) for member in members.members[1:])
        client.reconfig(joining=None, leaving=None, new_members=text)
        client.retry(client.create, "/c", b"")
        assert ids(same_config(members, 1, 2, 3)) == {2, 3}


def test_what_is_refused(tmp_path: Path) -> None:
    """The same errors as Apache's leader gives."""
    answers = []
    for kind in (PYTHON, JAVA):
        with ensemble(tmp_path / kind, [kind] * 3, settings=SETTINGS) as members:
            members.lead_by(3)
            client = members.client(1)
            told = []
            far = "server.9=127.0.0.1:1:2;3"
            new = {number: line(members[number]) for number in (1, 2, 3)}
            for words in (
                {"joining": far},
                {"joining": "server.9=127.0.0.1:1:2"},
                {"joining": "server.9"},
                {"joining": "server.x=127.0.0.1:1:2;3"},
                {"leaving": "x"},
                {"leaving": "1,2"},
                {"leaving": "7"},
                {"new_members": new[1]},
                {"new_members": ",".join([new[1], far, "server.10=127.0.0.1:4:5;6"])},
                {"new_members": f"{new[1]}\n{new[2]}\ngroup.1=1"},
                {"new_members": "nonsense"},
                {"new_members": ""},
                {"leaving": "1", "from_config": 7},
            ):
                asked = {"joining": None, "leaving": None, "new_members": None, **words}
                try:
                    client.reconfig(**asked)
                    told.append("done")
                except Exception as error:
                    told.append(type(error).__name__)
            answers.append(told)
    assert answers[0] == answers[1]
    assert {"NoAuthError", BadArgumentsError.__name__, BadVersionError.__name__} <= set(answers[0])
    assert {NewConfigNoQuorumError.__name__, NoAuthError.__name__} <= set(answers[0])


ZKCLI_SCRIPT = """\
config
config -c
reconfig -remove 1
config
reconfig -add @1@
config -s
reconfig -v 5 -remove 1
reconfig -remove 1,2
reconfig -add server.1
reconfig -members @1@,@2@,@3@
config -w
reconfig -add @observer@
quit
"""


def test_zkcli_reconfigures(tmp_path: Path) -> None:
    """config and reconfig with all their options: it prints what it prints with Apache's ensemble."""
    require(ZKCLI.exists(), "Debian's package zookeeper has no zkCli.sh")
    printed = []
    for kind in (PYTHON, JAVA):
        with ensemble(tmp_path / kind, [kind] * 3, settings=SETTINGS, properties=PROPERTIES) as members:
            members.lead_by(3)
            script = ZKCLI_SCRIPT
            for number in (1, 2, 3):
                script = script.replace(f"@{number}@", line(members[number]))
            script = script.replace("@observer@", line(members[1]).replace("participant", "observer"))
            finished = subprocess.run(
                [str(ZKCLI), "-server", members[3].hosts], input=script, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
                env={**os.environ, "CLIENT_JVMFLAGS": "-Xshare:auto -XX:TieredStopAtLevel=1"},
            )  # fmt: skip
            printed.append(_without_numbers(finished.stdout))
    assert printed[0] == printed[1]
    assert printed[0].count("server.1=") >= 4
    assert "No quorum of new config is connected" not in printed[0]


def _without_numbers(output: str) -> str:
    """What may differ from run to run: ports, versions, times, and what zkCli prints from another thread."""
    kept = [
        re.sub(r"0x[0-9a-f]+|(?<=[:=])[0-9a-f]{3,}|\b\w{3} \w{3} \d\d .*", "#", text.rstrip())
        for text in output.splitlines()
        if re.match(r"server\.|version=|Committed|\w+ = |.*(?:Error|Exception|failed|not|must|No )", text)
    ]
    return "\n".join(text for text in kept if "SLF4J" not in text)
