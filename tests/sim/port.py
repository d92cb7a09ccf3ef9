"""A client port on the simulated network: the product's own connections, on simulated streams."""

import trio

from pyzkserver.serving.admission import Admission
from pyzkserver.serving.service import Service
from pyzkserver.serving.task_plane import TaskPlane

from .host import SimHost
from .stream import SimStream

__all__ = ["serve_clients"]


async def serve_clients(service: Service, host: SimHost, port: int) -> None:
    """Accept clients and serve them, until cancelled."""
    admission = Admission(service.config)
    plane = TaskPlane(service, admission)
    async with host.machine.listen(port, 100) as listener, trio.open_nursery() as nursery:
        while True:
            stream: SimStream = await listener.accept()
            address = stream.remote.address
            if not admission.admit(address):
                await stream.aclose()
                continue
            nursery.start_soon(plane.serve_stream, stream, (address, port))
