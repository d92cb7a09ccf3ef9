"""What the leader was asked: each answer goes to who asked, in the order of asking."""

import pytest

from pyzkserver.quorum.ends import LeaderLost
from pyzkserver.quorum.questions import Questions


def test_syncs_are_answered_in_order() -> None:
    """The leader's SYNC does not say whose it is."""
    questions, told = Questions(), list[str]()
    for who in ("a", "b", "c"):
        questions.sync(lambda who=who: told.append(who))
    assert questions.waiting == 3
    questions.synced()
    assert told == ["a"]
    questions.sync(lambda: told.append("d"))
    for _ in range(3):
        questions.synced()
    assert told == ["a", "b", "c", "d"]
    assert questions.waiting == 0
    with pytest.raises(LeaderLost, match="a SYNC that nobody asked for"):
        questions.synced()


def test_revalidations_of_one_session_are_answered_in_order() -> None:
    """The answer names the session; it may have been closed between two of them."""
    questions, told = Questions(), list[tuple[str, bool]]()
    for who, session in (("a", 1), ("b", 2), ("c", 1)):
        questions.revalidate(session, lambda valid, who=who: told.append((who, valid)))
    questions.revalidated(1, True)
    questions.revalidated(1, False)
    questions.revalidated(2, True)
    assert told == [("a", True), ("c", False), ("b", True)]
    assert questions.waiting == 0


def test_an_answer_that_nobody_waits_for_is_passed_over() -> None:
    """As in Apache's learners (``Learner.revalidate``)."""
    questions = Questions()
    questions.revalidated(7, True)
    assert questions.waiting == 0


def test_the_last_of_this_members_clients_may_have_a_session() -> None:
    """An earlier one is told no at once, and keeps its place in the line, for the leader answers both."""
    questions, told = Questions(), list[tuple[str, bool]]()
    questions.resume(1, lambda valid: told.append(("old", valid)))
    questions.revalidate(1, lambda valid: told.append(("observer", valid)))
    questions.resume(1, lambda valid: told.append(("new", valid)))
    assert told == [("old", False)]
    for valid in (True, False, True):
        questions.revalidated(1, valid)
    assert told == [("old", False), ("observer", False), ("new", True)]
