"""uvicorn on a thread of its own, with an event loop of its own; no other module knows of either."""

import contextlib
import errno
import functools
import resource
import socket
import sys
import threading
from collections.abc import Sequence

import uvicorn
from starlette.types import ASGIApp

from exporter.errors import WebError
from exporter.web.connections import Connections, Listener
from exporter.web.log_limit import limit_libraries
from exporter.web.protocol import HEAD_BYTES, KEEP_ALIVE_SECONDS, TimeoutProtocol
from exporter.web.tls import LiveContext
from exporter.web.web_config import Access

_TIMEOUT_SECONDS = 30.0
_GRACE_SECONDS = 3
_CONNECTIONS = 128
# How many the system may hold until they are accepted. Beyond that it drops new connections, those of Prometheus too,
# which are tried again after a second, three, seven; accepting as many takes a third of a second.
_BACKLOG = 1_024
# Descriptors that the rest of the program may need: the history and its reserve, the sources, Alertmanagers, pages.
_DESCRIPTORS_OF_OTHERS = 112
# However few descriptors there are.
_FEWEST_CONNECTIONS = 16
# How long a thread that computes may keep an answer waiting, at each of its parts. Python's own is ten times as long.
_SWITCH_SECONDS = 0.0005

_ADVICE = {
    errno.EADDRINUSE: "the address is in use; stop the other program or choose another port",
    errno.EACCES: "this is not permitted; choose a port above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose another",
}


class WebServer:
    """One application on an address, and on ``further`` ones: pairs of host and port.

    ``port`` 0 takes any free port; ``host`` "" and "::" every address. Where ``sockets`` are given, which listen
    already, it serves on these alone.
    """

    def __init__(
        self,
        application: ASGIApp,
        host: str,
        port: int,
        access: Access | None = None,
        *,
        further: Sequence[tuple[str, int]] = (),
        sockets: Sequence[socket.socket] = (),
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._addresses = [(host, port), *further]
        self._sockets = sockets
        self.connections = Connections(_bound(), timeout_seconds)
        self._server = uvicorn.Server(_configuration(application, access or Access(), self.connections))
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port; before the start, the configured one."""
        return self._addresses[0][1]

    @property
    def ports(self) -> tuple[int, ...]:
        """The port of each address."""
        return tuple(port for _, port in self._addresses)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each address; a Unix socket has its path and 0."""
        return tuple(self._addresses)

    def start(self) -> None:
        """Listen, and serve from now on; raise WebError where that cannot be."""
        with contextlib.ExitStack() as opened:
            sockets = self._sockets or [opened.enter_context(_listen(host, port)) for host, port in self._addresses]
            opened.pop_all()
        listeners = [Listener(one, self.connections) for one in sockets]
        limit_libraries()
        hosts = [None] * len(listeners) if self._sockets else [host for host, _ in self._addresses]
        self._addresses = [_address(listener, host) for host, listener in zip(hosts, listeners, strict=True)]
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self._thread = threading.Thread(target=self._server.run, args=(listeners,), name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the answers under way finish, for a few seconds at most, and free the port."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_GRACE_SECONDS + 2)


def _bound() -> int:
    """Return how many connections may be open, so that they never take the descriptors of the rest."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = _CONNECTIONS if limit == resource.RLIM_INFINITY else limit - _DESCRIPTORS_OF_OTHERS
    return min(_CONNECTIONS, max(free, _FEWEST_CONNECTIONS))


def _configuration(application: ASGIApp, access: Access, connections: Connections) -> uvicorn.Config:
    configuration = uvicorn.Config(
        application,
        loop="asyncio",
        # uvicorn calls what it is given here as it would call a protocol class.
        http=functools.partial(TimeoutProtocol, connections=connections, access=access),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        # Connections are bounded before; this is for requests whose clients have left before they were answered.
        limit_concurrency=2 * _CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    configuration.load()
    if access.tls is not None:
        configuration.ssl = LiveContext.of(access)
    return configuration


def _listen(host: str, port: int) -> socket.socket:
    """Open the listening socket here rather than in uvicorn, so that errors are known at once."""
    if not 0 <= port <= 65_535:
        raise WebError(f"cannot listen on {_written(host, port)}: a port is a number from 0 to 65535")
    try:
        if host in {"", "::"} and socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
        family, address = _resolve(host or "0.0.0.0", port)  # noqa: S104 - "" is every address
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise WebError(f"cannot listen on {_written(host, port)}: {_advice(error)}") from None


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Find the one address to listen on: of a name that has both, the IPv4 one, as other exporters do."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, (str(address[0]), port)


def _address(listener: socket.socket, host: str | None) -> tuple[str, int]:
    """Return the host, as configured where it is, and the port of a listener."""
    if listener.family == socket.AF_UNIX:
        return str(listener.getsockname()), 0
    found, port = listener.getsockname()[:2]
    return (found if host is None else host), port


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _advice(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved; give an address of this machine"
    return _ADVICE.get(error.errno or 0, str(error))
