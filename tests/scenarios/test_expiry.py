"""What happens to a client that was silent for too long, and to those who relied on it."""

import queue
import socket

from kazoo.protocol.states import WatchedEvent

from .stage import PATIENCE, Stage, acting, until


def test_a_session_expires() -> None:
    """Its ephemeral nodes go and those who watched them hear of it; it hears that its session is lost, gets a
    new one and is as good as any; who was given more time notices nothing."""
    with Stage() as stage, acting(stage, timeout=4) as worker, acting(stage, timeout=40) as watcher:
        worker.client.create("/workers/one", b"busy", ephemeral=True, makepath=True)
        worker.client.create("/result", b"kept")
        first = worker.client.client_id[0]
        events: queue.Queue[WatchedEvent] = queue.Queue()
        assert watcher.client.exists("/workers/one", watch=events.put)
        assert watcher.client.get_children("/workers", watch=events.put) == ["one"]

        stage.pass_time(7)

        told = {
            (event.type, event.path) for event in (events.get(timeout=PATIENCE), events.get(timeout=PATIENCE))
        }
        assert told == {("DELETED", "/workers/one"), ("CHILD", "/workers")}
        assert watcher.client.get_children("/workers") == []
        assert watcher.client.get("/result")[0] == b"kept"
        worker.hears("LOST")
        worker.hears("CONNECTED")
        assert worker.client.client_id[0] != first
        worker.client.create("/workers/one", b"back", ephemeral=True)
        assert watcher.client.get("/workers/one")[1].ephemeralOwner == worker.client.client_id[0]
        assert watcher.states.empty()


def test_a_session_that_is_closed_leaves_at_once() -> None:
    """Nobody waits for the timeout of a client that said goodbye."""
    with Stage() as stage, acting(stage) as watcher:
        gone: queue.Queue[WatchedEvent] = queue.Queue()
        with acting(stage) as worker:
            worker.client.create("/here", ephemeral=True)
            watcher.client.exists("/here", watch=gone.put)
        assert gone.get(timeout=PATIENCE).type == "DELETED"
        assert stage.statistics()["sessions"] == 1


def test_a_client_that_vanishes_is_missed_only_when_its_time_is_up() -> None:
    """A connection that breaks is no reason to take its session's nodes away."""
    with (
        Stage() as stage,
        acting(stage) as watcher,
        socket.socket() as nowhere,
        acting(stage, timeout=4) as worker,
    ):
        worker.client.create("/here", ephemeral=True)
        # It never gets through again, nor does its goodbye: nobody listens where it looks.
        nowhere.bind(("127.0.0.1", 0))
        worker.client.set_hosts(f"127.0.0.1:{nowhere.getsockname()[1]}")
        connection = next(
            each
            for each in stage.running.service.connections
            if each.session_id == worker.client.client_id[0]
        )
        stage.run(connection.abort)
        worker.hears("SUSPENDED")
        assert watcher.client.exists("/here")
        stage.pass_time(3)
        assert watcher.client.exists("/here")
        stage.pass_time(4)
        until(lambda: watcher.client.exists("/here") is None)
