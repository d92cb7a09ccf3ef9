"""Random conversations with our server and with Apache's: this finds what nobody thought of."""

from __future__ import annotations

import pytest

from .apache import RELEASES, Apaches
from .conversation import Scenario, differences
from .ours import our_transcript
from .random_conversations import random_conversation, shrunk


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("release", RELEASES)
def test_random_conversations(release: str, apaches: Apaches, pytestconfig: pytest.Config) -> None:
    """Whatever clients say, in whatever order, both servers answer alike. `--first-seed` repeats a run."""
    servers = apaches(release)
    first = pytestconfig.getoption("--first-seed", default=0)

    def difference(scenario: Scenario) -> str:
        return differences(our_transcript(scenario, release), servers.transcript(scenario))

    for seed in range(first, first + pytestconfig.getoption("--conversations", default=30)):
        conversation = random_conversation(seed, old=release < "3.9")
        if difference(conversation):
            shortest = shrunk(conversation, lambda each: bool(difference(each)))
            pytest.fail(f"seed {seed} shows a difference:\n{difference(shortest)}", pytrace=False)
