"""Where members and clients are in a simulated network."""

__all__ = [
    "CLIENT_PORT",
    "ELECTION_PORT",
    "OBSERVER_MASTER_PORT",
    "QUORUM_PORT",
    "client_address",
    "member_address",
]

CLIENT_PORT, OBSERVER_MASTER_PORT, QUORUM_PORT, ELECTION_PORT = 2181, 2191, 2888, 3888


def member_address(sid: int) -> str:
    return f"10.0.0.{sid}"


def client_address(number: int) -> str:
    return f"10.0.1.{number}"
