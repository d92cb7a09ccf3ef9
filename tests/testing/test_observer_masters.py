"""An ensemble for tests whose observers learn from followers: kazoo at the observer sees no difference."""

import threading

from kazoo.client import KazooClient
from kazoo.protocol.states import EventType

from pyzkserver.testing import Ensemble
from pyzkserver.testing.ensemble import EnsembleMember

SETTINGS = {"observers": 1, "observer_master_port": 2191}


def observes_by(ensemble: Ensemble) -> EnsembleMember | None:
    """The member that the observer learns from."""
    return next(
        (
            member
            for member in ensemble
            if member.is_running
            and any(handler.sid == 4 and handler.in_broadcast for handler in member.peer.handlers)
        ),
        None,
    )


def mastered(ensemble: Ensemble) -> EnsembleMember:
    ensemble.wait_until(lambda: observes_by(ensemble) is not None, "the observer to find a master")
    ensemble.wait_until(lambda: ensemble[4].mode == "observer", "the observer to serve")
    master = observes_by(ensemble)
    assert master is not None
    if master.mode != "follower":
        # On a busy machine no follower may have served it in time, and it went to the leader.
        ensemble[4].restart()
        return mastered(ensemble)
    return master


def test_a_client_of_an_observer_outlives_its_masters() -> None:
    """Watches, ephemerals and sync by way of a follower; and when that is killed, by way of the next."""
    with Ensemble(3, **SETTINGS) as ensemble:
        mastered(ensemble)
        client, other = KazooClient(ensemble[4].hosts, timeout=10), KazooClient(ensemble.leader.hosts)
        client.start()
        other.start()
        session = client.client_id
        client.create("/alive", ephemeral=True)
        assert other.sync("/") == "/"
        assert other.exists("/alive")
        for number in range(2):
            told = threading.Event()
            assert client.exists(f"/{number}", watch=lambda event, told=told: told.set()) is None
            other.create(f"/{number}", b"x")
            assert told.wait(10)
            assert client.retry(client.get, f"/{number}")[0] == b"x"
            master = mastered(ensemble)
            master.kill()
            ensemble.wait_until(
                lambda gone=master: observes_by(ensemble) not in (None, gone), "another master"
            )
            client.retry(client.set, f"/{number}", b"y")
            assert other.get(f"/{number}")[0] == b"y"
            master.restart()
        assert client.client_id == session
        assert client.retry(client.exists, "/alive")
        for each in (client, other):
            each.stop()
            each.close()


def test_time_that_is_put_forward_ends_no_connection() -> None:
    """``advance`` excuses observers of followers as it excuses those of the leader."""
    with Ensemble(3, **SETTINGS) as ensemble:
        master = mastered(ensemble)
        [before] = master.run(lambda: list(master.peer.handlers))
        ensemble.advance(60)
        assert master.run(lambda: [handler.synced for handler in master.peer.handlers]) == [True]
        assert list(master.peer.handlers) == [before]


def test_local_sessions_of_an_observer_become_global() -> None:
    """Its first ephemeral node makes one known to all, by way of the master, which holds nothing of it before."""
    settings = {"local_sessions_enabled": True, "local_sessions_upgrading_enabled": True}
    with Ensemble(3, **SETTINGS, **settings) as ensemble:
        master = mastered(ensemble)
        client = KazooClient(ensemble[4].hosts)
        client.start()
        session = client.client_id[0]
        client.create("/plain")
        sessions = master.running.service.replica.sessions
        assert not master.run(lambda: session in sessions.by_id)
        client.create("/mortal", ephemeral=True)
        ensemble.wait_until(lambda: master.run(lambda: session in sessions.by_id), "the master to hear of it")
        told = threading.Event()
        seen = []
        other = KazooClient(ensemble.leader.hosts)
        other.start()
        other.sync("/")
        assert other.exists("/mortal", watch=lambda event: (seen.append(event.type), told.set())) is not None
        client.stop()
        client.close()
        assert told.wait(10)
        assert seen == [EventType.DELETED]
        other.stop()
        other.close()
