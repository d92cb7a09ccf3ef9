"""Random conversations with our server and with Apache's: this finds what nobody thought of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from .apache import RELEASES, SUPER_DIGEST, Apaches
from .conversation import Scenario, differences
from .ensemble import JAVA, PYTHON, ensemble
from .member_conversations import with_members
from .ours import our_transcript
from .random_conversations import random_conversation, shrunk


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("release", RELEASES)
def test_random_conversations(release: str, apaches: Apaches, pytestconfig: pytest.Config) -> None:
    """Whatever clients say, in whatever order, both servers answer alike.  `--first-seed` repeats a run."""
    servers = apaches(release)
    first = pytestconfig.getoption("--first-seed", default=0)

    def difference(scenario: Scenario) -> str:
        return differences(our_transcript(scenario, release), servers.transcript(scenario))

    for seed in range(first, first + pytestconfig.getoption("--conversations", default=30)):
        conversation = random_conversation(seed, old=release < "3.9")
        if difference(conversation):
            shortest = shrunk(conversation, lambda each: bool(difference(each)))
            pytest.fail(f"seed {seed} shows a difference:\n{difference(shortest)}", pytrace=False)


MEMBERS = (
    {"a": 1, "b": 4, "c": 3},
    {"a": 4, "b": 1, "c": 2},
    {"a": 3, "b": 4, "c": 4},
    {"a": 1, "b": 1, "c": 2},
    {"a": 2, "b": 3, "c": 1},
)
"""Who talks to which member; 3 leads, 4 observes."""
PROPERTIES = {
    "zookeeper.DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
    "zookeeper.enforceQuota": "true",
    "zookeeper.forceSync": "no",
}
SETTINGS: dict[str, dict[str, str]] = {
    "global sessions": {},
    "local sessions": {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"},
}


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sessions", SETTINGS)
def test_random_conversations_with_members(
    sessions: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """The same with ensembles: sessions of the leader, of followers and of an observer, that move among them, too."""
    settings = SETTINGS[sessions]
    theirs = ensemble(tmp_path / "theirs", [JAVA] * 4, observers=1, settings=settings, properties=PROPERTIES)
    ours = ensemble(tmp_path / "ours", [PYTHON] * 4, observers=1, settings=settings, properties=PROPERTIES)
    first = pytestconfig.getoption("--first-seed", default=0)
    with theirs as apaches, ours as mine:
        apaches.lead_by(3), mine.lead_by(3)

        def difference(scenario: Scenario, members: Mapping[str, int]) -> str:
            return differences(
                with_members(mine, scenario, members, JAVA), with_members(apaches, scenario, members, JAVA)
            )

        for seed in range(first, first + pytestconfig.getoption("--conversations", default=30)):
            conversation = random_conversation(seed, old=JAVA < "3.9", members=True, local=bool(settings))
            members = MEMBERS[seed % len(MEMBERS)]
            # What does not come again is chance: Apache's leader may answer its own client's sync before it has
            # applied what others were told.
            if difference(conversation, members) and (found := difference(conversation, members)):
                pytest.fail(f"seed {seed} shows a difference with {members}:\n{found}", pytrace=False)
