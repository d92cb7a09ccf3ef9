"""The same bytes to our server and to Apache's: the answers are the same, frame for frame.

What Apache 3.9 answered is recorded in transcripts/, and checked without any Java. Where Apache's server is at hand, both
are asked side by side. `pytest tests/interop --rewrite-transcripts` records anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .apache import ApacheServers
from .conversation import Scenario
from .ours import our_transcript
from .scenarios import SCENARIOS

TRANSCRIPTS = Path(__file__).with_name("transcripts")
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


def transcript_file(scenario: Scenario) -> Path:
    return TRANSCRIPTS / f"{scenario.name}.txt"


@every_scenario
def test_answers_as_recorded_from_apache(scenario: Scenario) -> None:
    """We answer what Apache 3.9 answered when the transcript was recorded."""
    assert our_transcript(scenario) == transcript_file(scenario).read_text()


@pytest.mark.interop
@every_scenario
def test_answers_like_apache(scenario: Scenario, apache: ApacheServers) -> None:
    """We answer what Apache's server answers here and now."""
    if scenario.since > apache.release:
        pytest.skip(f"Apache {apache.release} behaves otherwise; the recorded transcript covers it")
    theirs = apache.transcript(scenario)
    assert "NO ANSWER" not in theirs
    assert our_transcript(scenario, apache.release) == theirs


@pytest.mark.interop
@every_scenario
def test_transcripts_are_apaches(scenario: Scenario, apache_39: ApacheServers, pytestconfig: pytest.Config) -> None:
    """The recorded transcripts are what Apache 3.9 answers, and no wish of ours."""
    theirs = apache_39.transcript(scenario)
    assert "NO ANSWER" not in theirs
    if pytestconfig.getoption("--rewrite-transcripts", default=False):
        transcript_file(scenario).write_text(theirs)
    assert transcript_file(scenario).read_text() == theirs


def test_no_transcript_without_a_scenario() -> None:
    """A renamed scenario leaves no stale transcript behind."""
    assert {file.stem for file in TRANSCRIPTS.glob("*.txt")} == set(SCENARIOS)
