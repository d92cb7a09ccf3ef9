"""Requests that bring Apache's server down.  Ours answers them, and goes on."""

from __future__ import annotations

import pytest

from .apache import FLAVORS, RELEASES, apache_server, debian_classpath, newer_classpath
from .calls import OPEN, SEQUENTIAL, create, create_ttl, delete, set_data, sync
from .conversation import Connect, Scenario, Step, play
from .ours import our_transcript
from .scenarios_upkeep import QUOTA, SOFT, quota

STATS = f"{QUOTA}/t/zookeeper_stats"
FOLDER: list[Step] = [("a", create("/t")), *quota("/t", SOFT)]


def deadly(name: str, *steps: Step) -> Scenario:
    """The last step is the deadly one.  Behind it both an old and a new client ask for something."""
    after: list[Step] = [("a", sync("/old")), ("b", Connect()), ("b", sync("/new"))]
    return Scenario(name, "brings Apache down", [("a", Connect()), *steps, *after], server="extended")


DEADLY = [
    deadly("ttl-below-0-without-a-ttl-flag", ("a", create_ttl("/t", b"", OPEN, 0, ttl=-1))),
    deadly("the-same-with-a-number", ("a", create_ttl("/t", b"", OPEN, SEQUENTIAL, ttl=-1))),
    deadly("a-quota-on-the-root-of-quotas", ("a", create(f"{QUOTA}/zookeeper_limits", SOFT))),
    deadly(
        "limits-outside-of-quota",
        ("a", create("/zookeeper/x")),
        ("a", create("/zookeeper/x/zookeeper_limits", SOFT)),
        ("a", delete("/zookeeper/x/zookeeper_limits")),
    ),
    deadly("stats-of-null", *FOLDER, ("a", set_data(STATS, None)), ("a", create("/t/x", b"1"))),
    deadly("stats-of-garbage", *FOLDER, ("a", set_data(STATS, b"garbage")), ("a", create("/t/x", b"1"))),
]
every_deadly = pytest.mark.parametrize("scenario", DEADLY, ids=lambda each: each.name)
SURVIVED = ("err=0 '/old'", "err=0 '/new'")


@every_deadly
def test_ours_survives(scenario: Scenario) -> None:
    """Each request is answered, and its sender and others are served as before."""
    transcript = our_transcript(scenario)
    assert all(words in transcript for words in SURVIVED), transcript
    assert "the end" not in transcript


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
@every_deadly
def test_apache_does_not(scenario: Scenario, release: str) -> None:
    """Apache's server goes down, so there is no answer of its own to copy."""
    classpath = debian_classpath() if release == "3.8" else newer_classpath()
    with apache_server(classpath, FLAVORS[scenario.server]) as address:
        try:
            transcript = play(scenario, address, 0, release, tidy=False)
        except ConnectionRefusedError:
            return
    assert not all(words in transcript for words in SURVIVED), transcript
