"""The same bytes to our server and to Apache's: the answers are the same, frame for frame.

What Apache 3.9 answered is recorded in transcripts/, and checked without any Java.  Where Apache's server is
at hand, both are asked side by side.  `--rewrite-transcripts` records anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .apache import RELEASES, Apaches, ApacheServers
from .calls import EPHEMERAL, OPEN, close_session, create, exists, get_data, ping
from .conversation import Connect, Scenario, differences
from .ours import our_transcript
from .scenarios import SCENARIOS

TRANSCRIPTS = Path(__file__).with_name("transcripts")
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())


def transcript_file(scenario: Scenario) -> Path:
    return TRANSCRIPTS / f"{scenario.name}.txt"


def same(ours: str, theirs: str) -> None:
    if ours != theirs:
        pytest.fail(differences(ours, theirs), pytrace=False)


@every_scenario
def test_answers_as_recorded_from_apache(scenario: Scenario) -> None:
    """We answer what Apache 3.9 answered when the transcript was recorded."""
    same(our_transcript(scenario), transcript_file(scenario).read_text())


@pytest.mark.interop
@pytest.mark.parametrize(
    ("release", "scenario"),
    [
        pytest.param(release, scenario, id=f"{release}-{name}")
        for release in RELEASES
        for name, scenario in SCENARIOS.items()
        if scenario.since <= release
    ],
)
def test_answers_like_apache(release: str, scenario: Scenario, apaches: Apaches) -> None:
    """We answer what Apache's server answers here and now."""
    theirs = apaches(release).transcript(scenario)
    assert "NO ANSWER" not in theirs
    same(our_transcript(scenario, release), theirs)


@pytest.mark.interop
@every_scenario
def test_transcripts_are_apaches(
    scenario: Scenario, apache_39: ApacheServers, pytestconfig: pytest.Config
) -> None:
    """The recorded transcripts are what Apache 3.9 answers, and no wish of ours."""
    theirs = apache_39.transcript(scenario)
    assert "NO ANSWER" not in theirs
    if pytestconfig.getoption("--rewrite-transcripts", default=False):
        transcript_file(scenario).write_text(theirs)
    same(transcript_file(scenario).read_text(), theirs)


def test_no_transcript_without_a_scenario() -> None:
    """A renamed scenario leaves no stale transcript behind."""
    assert {file.stem for file in TRANSCRIPTS.glob("*.txt")} == set(SCENARIOS)


BEHIND_A_CLOSE = Scenario(
    "behind-a-close",
    "Requests behind a closeSession have no effect",
    [
        ("b", Connect()),
        ("a", Connect()),
        ("a", create("/e", b"", OPEN, EPHEMERAL)),
        ("a", [create("/t"), close_session(), create("/u"), get_data("/t"), ping(), create("/v")]),
        *[("b", exists(path)) for path in ("/t", "/u", "/v", "/e")],
    ],
)


def refuses_what_is_behind_a_close(transcript: str) -> bool:
    """Apache answers some of these requests with −112 or, more rarely, −12 (the session is not known any more), or
    none: that is left to chance, the effect is not.

    (Where it resets the connection because of them, even the answer to the close may be lost.)
    """
    answers = {
        (who, int(xid)): err
        for who, xid, err in re.findall(r"^(\w)< xid=(\d+) .*err=(-?\d+)", transcript, re.M)
    }
    behind = {err for (who, xid), err in answers.items() if who == "a" and xid > 3}
    seen = [err for (who, _), err in answers.items() if who == "b"]
    return behind <= {"-112", "-12"} and seen == ["0", "-101", "-101", "-101"]


def test_requests_behind_a_close() -> None:
    """Once a session closes, nothing that its client sent behind that happens."""
    transcript = our_transcript(BEHIND_A_CLOSE)
    assert refuses_what_is_behind_a_close(transcript)
    assert "a< xid=3 " in transcript  # what it is owed reaches it


@pytest.mark.interop
@pytest.mark.parametrize("release", RELEASES)
def test_requests_behind_a_close_at_apache(release: str, apaches: Apaches) -> None:
    """The check above is one that Apache's server passes."""
    assert refuses_what_is_behind_a_close(apaches(release).transcript(BEHIND_A_CLOSE))
