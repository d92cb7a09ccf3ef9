"""The four-letter words that tell how much is going on: srvr, stat, cons, mntr.

Every number is counted somewhere; what nobody counts has no line here, not even a zero.
"""

from typing import TYPE_CHECKING

from pyzkserver.state.paths import CONFIG_NODE
from pyzkserver.wire.requests import OPERATIONS

from .fourletter_machine import FULL_VERSION, max_descriptors, open_descriptors

if TYPE_CHECKING:
    from .connection import Connection
    from .service import Service

__all__ = ["cons", "mntr", "remote_address", "srvr", "stat", "unsigned"]

_PEER_STATES = {"leader": "leading", "follower": "following", "observer": "observing"}
"""By what srvr calls it (``QuorumPeer.getDetailedPeerState``); nobody is served before the broadcast."""

# java.nio.channels.SelectionKey
_NOTHING, _READING, _WRITING = 0, 1, 4


def unsigned(value: int) -> str:
    """A session id or zxid in hexadecimal, as Java's ``Long.toHexString`` writes a negative one."""
    return f"0x{value & 0xFFFF_FFFF_FFFF_FFFF:x}"


def remote_address(connection: "Connection") -> str:
    """The client, as Java prints an ``InetSocketAddress``."""
    host, port = connection.address
    return f"/[{host}]:{port}" if ":" in host else f"/{host}:{port}"


def srvr(service: "Service", asker: "Connection") -> str:
    """The server in a few lines (``ServerStats``).

    The mean latency has a fraction, as Apache 3.9's has.  Parsers that expect a whole number there
    (samuel/go-zookeeper's) stumble over Apache's as over ours; go-zookeeper/zk's takes both.
    """
    return f"{_heading(service)}{_summary(service)}"


def stat(service: "Service", asker: "Connection") -> str:
    """The same, with a line for each client between."""
    clients = "".join(f"{_brief(connection, asker)})\n" for connection in service.connections)
    return f"{_heading(service)}Clients:\n{clients}\n{_summary(service)}"


def _heading(service: "Service") -> str:
    mode = "READ-ONLY mode; serving only read-only clients\n" if service.replica.role.read_only else ""
    return f"Zookeeper version: {FULL_VERSION}\n{mode}"


def _summary(service: "Service") -> str:
    statistics, tree = service.statistics, service.replica.tree
    latency = statistics.latency
    return (
        f"Latency min/avg/max: {latency.minimum}/{latency.mean}/{latency.maximum}\n"
        f"Received: {statistics.received}\n"
        f"Sent: {statistics.sent}\n"
        f"Connections: {len(service.connections)}\n"
        f"Outstanding: {_outstanding(service)}\n"
        f"Zxid: {unsigned(tree.last_zxid)}\n"
        f"Mode: {service.mode}\n"
        f"Node count: {len(tree.nodes)}\n"
        f"{_proposal_sizes(service)}"
    )


def _proposal_sizes(service: "Service") -> str:
    """What a leader proposed, in bytes; others have no such line (``StatCommand``)."""
    gauges = service.replica.role.gauges()
    sizes = [gauges.get(f"{which}_proposal_size") for which in ("last", "min", "max")]
    return "" if None in sizes else f"Proposal sizes last/min/max: {'/'.join(map(str, sizes))}\n"


def _outstanding(service: "Service") -> int:
    """Requests that are taken but not answered, reads behind a write included (``requestsInProcess``)."""
    return sum(len(connection.lane) for connection in service.connections)


def cons(service: "Service", asker: "Connection") -> str:
    """A line for each connection, with all that is known of it."""
    lines = [
        f"{_brief(connection, asker)}{_detail(connection) if connection.session_id else ''})\n"
        for connection in service.connections
    ]
    return "".join(lines) + "\n"


def _brief(connection: "Connection", asker: "Connection") -> str:
    """The beginning of a connection's line, up to the parenthesis (``ServerCnxn.dumpConnectionInfo``)."""
    return (
        f" {remote_address(connection)}[{_interest(connection, asker):x}]"
        f"(queued={len(connection.lane)},recved={connection.received},sent={connection.sent}"
    )


def _detail(connection: "Connection") -> str:
    operation = OPERATIONS.get(connection.last_op)
    latency = connection.latency
    # Pings and the like have xids below 0, which Apache does not tell; nor is there one before any request.
    xid = f",lcxid=0x{connection.last_xid:x}" if connection.last_xid >= 0 else ""
    return (
        f",sid={unsigned(connection.session_id)}"
        f",lop={operation.short if operation else 'NA'}"
        f",est={connection.established_ms}"
        f",to={connection.negotiated_timeout}"
        f"{xid}"
        f",lzxid={unsigned(connection.last_zxid)}"
        f",lresp={connection.last_response_ms}"
        f",llat={connection.last_latency}"
        f",minlat={latency.minimum}"
        # A whole number here, other than in stat.
        f",avglat={latency.total // latency.count if latency.count else 0}"
        f",maxlat={latency.maximum}"
    )


def _interest(connection: "Connection", asker: "Connection") -> int:
    """What its socket waits for.

    Never both: a client that does not take its replies is not read from.  Whoever asks with a four-letter
    word is not listened to any more.
    """
    if connection is asker:
        return _NOTHING
    if connection.queued:
        return _WRITING
    return _NOTHING if connection.paused or connection.closing else _READING


def mntr(service: "Service", asker: "Connection") -> str:
    """Keys and values for monitoring.

    Datadog takes the first line for the version whatever it says.
    """
    values = {"version": FULL_VERSION, "server_state": service.mode}
    role = service.replica.role
    if service.config.is_distributed and not role.read_only:
        values["peer_state"] = f"{_PEER_STATES[service.mode]} - broadcast"
        values["quorum_size"] = str(_voters(service))
    numbers = {**_gauges(service), **_descriptors(), **_counters(service), **role.gauges()}
    values.update({key: str(number) for key, number in numbers.items()})
    return "".join(f"zk_{key}\t{value}\n" for key, value in values.items())


def _voters(service: "Service") -> int:
    """How many members vote in the configuration in force."""
    return (service.replica.tree.nodes[CONFIG_NODE].data or b"").count(b":participant")


def _gauges(service: "Service") -> dict[str, int | float]:
    """What is so at this moment (``ZooKeeperServer.registerMetrics``)."""
    statistics, replica = service.statistics, service.replica
    tree, latency = replica.tree, statistics.latency
    local = sum(session.local for session in replica.sessions.by_id.values())
    return {
        "avg_latency": latency.mean,
        "min_latency": latency.minimum,
        "max_latency": latency.maximum,
        "packets_received": statistics.received,
        "packets_sent": statistics.sent,
        "num_alive_connections": len(service.connections),
        "outstanding_requests": _outstanding(service),
        "uptime": service.host.elapsed_ms() - statistics.started_ms,
        "znode_count": len(tree.nodes),
        "watch_count": len(tree.watches),
        "ephemerals_count": tree.ephemeral_count(),
        "approximate_data_size": tree.data_size,
        "global_sessions": len(replica.sessions) - local,
        "local_sessions": local,
        "auth_failed_count": statistics.auth_failed,
    }


def _descriptors() -> dict[str, int]:
    counts = {
        "open_file_descriptor_count": open_descriptors(),
        "max_file_descriptor_count": max_descriptors(),
    }
    return {key: count for key, count in counts.items() if count is not None}


def _counters(service: "Service") -> dict[str, int]:
    """What has happened so far, under the names of Apache's ``ServerMetrics``."""
    statistics = service.statistics
    return {
        "connection_rejected": statistics.connections_rejected,
        "connection_drop_count": statistics.connections_dropped,
        "connection_revalidate_count": statistics.revalidated,
        "stale_sessions_expired": service.replica.sessions.expired,
        "sessionless_connections_expired": statistics.sessionless_expired,
        "bytes_received_count": statistics.bytes_received,
    }
