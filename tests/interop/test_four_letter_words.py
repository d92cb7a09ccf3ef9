"""Four-letter words to both servers in the same state: the same lines come, and the same numbers in them."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from serving.talk import create as create_node
from serving.talk import sync

from .apache import FLAVORS, RELEASES, apache_server, debian_classpath, newer_classpath
from .calls import EPHEMERAL, OPEN, add_watch, create, exists, get_children, get_data
from .conversation import Address, Connect, Conversation, differences
from .ensemble import JAVA, PYTHON, Member, ensemble
from .ours import our_server
from .replies import Names
from .wire import Wire

# Words whose answers are the same but for what `shape` hides.
SAME = (
    "ruok",
    "isro",
    "srvr",
    "stat",
    "cons",
    "wchs",
    "wchc",
    "wchp",
    "gtmk",
    "hash",
    "crst",
    "srst",
    "nope",
)
SAME_NUMBERS = (
    "zk_server_state",
    "zk_znode_count",
    "zk_watch_count",
    "zk_ephemerals_count",
    "zk_approximate_data_size",
    "zk_global_sessions",
    "zk_local_sessions",
    "zk_num_alive_connections",
    "zk_outstanding_requests",
)
HIDDEN = (
    (r"Zookeeper version: \d[^,]*, built on .+", "Zookeeper version"),
    (r"Latency min/avg/max: \d+/\d+(\.\d+)?/\d+", "Latency"),
    (r"(Received|Sent): \d+", r"\1"),
    (r"127\.0\.0\.1:\d+", "<client>"),
    (r"0x1[0-9a-f]{14}\b", "<session>"),
    (r"(est|lresp|llat|minlat|avglat|maxlat)=\d+", r"\1"),
)


def ask(address: Address, word: str) -> str:
    """The whole answer, which ends with the connection."""
    with socket.create_connection(address, timeout=10) as sock:
        sock.sendall(word.encode())
        answer = b""
        try:
            while received := sock.recv(1 << 16):
                answer += received
        except ConnectionResetError:
            pass
    return answer.decode()


def shape(answer: str) -> str:
    """The answer without times and counters; lists of clients and watches are sorted."""
    for pattern, word in HIDDEN:
        answer = re.sub(pattern, word, answer)
    blocks = re.split(r"\n(?=[</])", answer) if answer.startswith(("/", "<")) else [answer]
    tidy = ["\n".join(sorted_rows(block)) for block in blocks]
    return "\n".join(sorted(block.strip("\n") for block in tidy)) + answer[len(answer.rstrip("\n")) :]


def sorted_rows(block: str) -> list[str]:
    rows = block.split("\n")
    listed = sorted(row for row in rows if row.startswith((" /", "\t")))
    taken = iter(listed)
    return [next(taken) if row.startswith((" /", "\t")) else row for row in rows]


def table(answer: str, separator: str) -> dict[str, str]:
    return dict(line.split(separator, 1) for line in answer.splitlines() if separator in line)


def answers(address: Address, words: tuple[str, ...]) -> dict[str, str]:
    """What the server says with two sessions, an ephemeral node and watches of all kinds."""
    talk = Conversation(address, Names(0))
    try:
        talk.play(
            [
                ("a", Connect()),
                ("b", Connect()),
                ("a", create("/t", b"abc")),
                ("a", create("/t/e", b"", OPEN, EPHEMERAL)),
                ("a", get_data("/t", True)),
                ("b", get_data("/t", True)),
                ("b", exists("/none", True)),
                ("b", get_children("/t", True)),
                ("b", add_watch("/t/p", 0)),
                ("b", add_watch("/t", 1)),
            ]
        )
        return {word: ask(address, word) for word in words}
    finally:
        talk.hang_up()


@pytest.mark.interop
@pytest.mark.parametrize("release", RELEASES)
def test_four_letter_words(release: str) -> None:
    """What tools parse is there as with Apache's server, and counts the same things."""
    classpath = debian_classpath() if release == "3.8" else newer_classpath()
    words = (*SAME[:-3], "mntr", "conf", "envi", "dump", "dirs", *SAME[-3:])
    with apache_server(classpath, FLAVORS["plain"]) as address:
        theirs = answers(address, words)
    with our_server("plain") as server:
        ours = answers(("127.0.0.1", server.port), words)
    for word in SAME:
        assert not differences(shape(ours[word]), shape(theirs[word])), word
    for word in ("conf", "dirs"):
        assert list(table(ours[word], "=")) == list(table(theirs[word], "=")), word
    for word in ("conf", "dirs"):
        assert list(table(ours[word], ": ")) == list(table(theirs[word], ": ")), word
    known, said = table(theirs["mntr"], "\t"), table(ours["mntr"], "\t")
    assert {key: said.get(key) for key in SAME_NUMBERS} == {key: known[key] for key in SAME_NUMBERS}
    assert [key for key in said if key not in known] == [], "mntr's keys are Apache's"
    assert table(ours["envi"], "=")["zookeeper.version"].startswith("3.9.")
    first_words = [line.split(" ")[0] for line in ours["dump"].splitlines() if line[0].isalpha()]
    assert first_words == [line.split(" ")[0] for line in theirs["dump"].splitlines() if line[0].isalpha()]


OF_A_MEMBER = (
    "zk_server_state",
    "zk_peer_state",
    "zk_quorum_size",
    "zk_learners",
    "zk_synced_followers",
    "zk_synced_observers",
    "zk_synced_non_voting_followers",
    "zk_pending_syncs",
    "zk_last_proposal_size",
    "zk_min_proposal_size",
    "zk_max_proposal_size",
)


def words_of_members(folder: Path, kind: str) -> dict[str, dict[str, str]]:
    """What the leader, a follower and an observer say when the leader has proposed the same."""
    with ensemble(folder, [kind] * 4, observers=1) as running:
        leader = running.lead_by(3)
        client = running.client(1)
        client.create("/a", b"x" * 100)
        client.set("/a", b"y")
        client.stop()
        running.wait(lambda: len({member.zxid() for member in running.members}) == 1, "all have all")
        said = {}
        for member in (leader, running[1], running[4]):
            said[member.mode()] = words_of(member)
        leader.word("srst")
        said["leader"]["after srst"] = leader.word("srvr")
    return said


def words_of(member: Member) -> dict[str, str]:
    return {word: member.word(word) for word in ("srvr", "stat", "mntr")}


def dumps_of_members(folder: Path, kind: str, settings: dict[str, str]) -> dict[str, str]:
    """What the members know of the sessions when each has two clients, of which one has an ephemeral node."""
    settings = settings | {"tickTime": "2000"}
    with ensemble(folder, [kind] * 4, observers=1, settings=settings) as running:
        leader = running.lead_by(3)
        said = {}
        wires = [Wire(running[1 + number % 4].client_port, timeout=20_000) for number in range(8)]
        for number, wire in enumerate(wires):
            if number < 4:
                wire.ask(create_node(f"/e{number}", flags=1))
        for wire in wires:
            wire.ask(sync())
        for member in (leader, running[1], running[4]):
            dump = member.word("dump").partition("ephemeral nodes dump:")[0]
            said[member.mode()] = re.sub(
                r"0x[0-9a-f]{15}\b", "<session>", re.sub(r"at .* \d{4}:", "at", dump)
            )
        for wire in wires:
            wire.hang_up()
    return said


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.timeout(200)
@pytest.mark.parametrize("local", ["", "localSessionsEnabled", "localSessionsUpgradingEnabled"])
def test_whose_sessions_members_dump(local: str, tmp_path: Path) -> None:
    """The leader tells when they expire, a learner what their timeouts are; local sessions stand apart."""
    settings = {"localSessionsEnabled": "true", local: "true"} if local else {}
    theirs = dumps_of_members(tmp_path / "theirs", JAVA, settings)
    ours = dumps_of_members(tmp_path / "ours", PYTHON, settings)
    assert set(ours) == set(theirs) == {"leader", "follower", "observer"}
    for mode in ours:
        assert not differences(ours[mode], theirs[mode]), mode


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.timeout(200)
def test_what_the_members_of_an_ensemble_say(tmp_path: Path) -> None:
    """A leader's line about its proposals, which are of the same sizes, and the numbers that only members have."""
    theirs = words_of_members(tmp_path / "theirs", JAVA)
    ours = words_of_members(tmp_path / "ours", PYTHON)
    assert set(ours) == set(theirs) == {"leader", "follower", "observer"}
    for mode in ours:
        for word in ("srvr", "stat"):
            assert not differences(shape(ours[mode][word]), shape(theirs[mode][word])), (mode, word)
        known, said = table(theirs[mode]["mntr"], "\t"), table(ours[mode]["mntr"], "\t")
        assert {key: said.get(key) for key in OF_A_MEMBER} == {key: known.get(key) for key in OF_A_MEMBER}
        assert [key for key in said if key not in known] == [], "mntr's keys are Apache's"
    sizes = ours["leader"]["srvr"].splitlines()[-1]
    assert re.fullmatch(r"Proposal sizes last/min/max: \d+/\d+/\d+", sizes), sizes
    assert ours["leader"]["after srst"].endswith("Proposal sizes last/min/max: -1/-1/-1\n")
    assert theirs["leader"]["after srst"].endswith("Proposal sizes last/min/max: -1/-1/-1\n")
