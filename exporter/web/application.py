"""The ASGI application and its routes. They serve an endpoint, whose answers are ready before the request."""

from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.errors import ConfigurationError
from exporter.pagedata.builder import PageData
from exporter.status import Status
from exporter.web.concurrency import ConcurrencyLimit
from exporter.web.middleware import AllowedHosts, BasicAuthentication, is_cross_site
from exporter.web.negotiation import OPENMETRICS, TEXT, wants_gzip, wants_openmetrics
from exporter.web.pages import PageRoutes
from exporter.web.paths import RoutePrefix
from exporter.web.query_params import COLLECT, EXCLUDE, WrongParameter, chosen_collectors
from exporter.web.streaming import LargeResponse
from exporter.web.templating import StaticFiles, environment
from exporter.web.web_config import Access

# Of plain expositions, which are decompressed while they are sent. Those that are sent as they are kept need no limit.
_PLAIN_AT_ONCE, _PLAIN_SEATS = 4, 16


class Exposition(Protocol):
    """An exposition in every format."""

    def of_collectors(self, collectors: Collection[str]) -> "Exposition":
        """Return the exposition of some collectors, with the metrics of the agent itself."""

    def body(self, *, openmetrics: bool, gzip: bool) -> tuple[int, Iterator[bytes]]:
        """Return the size of a format in bytes, and an iterator over its chunks; each may cost milliseconds."""


class Endpoint(Protocol):
    """The source of all answers. All methods but ``reload`` return at once, on any thread."""

    def exposition(self) -> Exposition:
        """Return the newest rendering."""

    def collectors(self) -> Mapping[str, bool]:
        """Return every collector by its name, and whether it is enabled."""

    def ready(self) -> bool:
        """Return whether the first poll of every source has ended and is published."""

    def status(self) -> Status:
        """Return the status of the agent."""

    def pages(self) -> PageData:
        """Return the data of the other pages."""

    def reload(self) -> None:
        """Read the configuration anew, all or nothing; raise ConfigurationError. Called on a thread of its own."""


def application(
    endpoint: Endpoint, access: Access | None = None, *, telemetry_path: str = "/metrics", route_prefix: str = "/"
) -> Starlette:
    """Build the application; without ``access`` no authentication is required.

    ``telemetry_path`` is below ``route_prefix``, and ``/`` puts the metrics in the place of the status page.
    """
    static = StaticFiles()
    routes = _Routes(endpoint)
    guard = access or Access()
    app = Starlette(
        routes=[
            Route(telemetry_path, routes.metrics),
            *PageRoutes(endpoint, environment(static.address, telemetry_path), guard).routes(),
            Route("/-/healthy", routes.healthy),
            Route("/-/ready", routes.ready),
            Route("/-/reload", routes.reload, methods=["POST"]),
            Route("/static/{name}", static.answer),
        ],
        middleware=[
            Middleware(AllowedHosts, access=guard),
            Middleware(BasicAuthentication, access=guard),
            *([] if route_prefix == "/" else [Middleware(RoutePrefix, prefix=route_prefix)]),
        ],
        exception_handlers={Exception: _failed},
    )
    app.router.redirect_slashes = False
    return app


class _Routes:
    """The answers of an endpoint over HTTP; Starlette answers HEAD wherever GET is answered."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._plain = ConcurrencyLimit(_PLAIN_AT_ONCE, _PLAIN_SEATS)

    async def metrics(self, request: Request) -> Response:
        openmetrics = wants_openmetrics(",".join(request.headers.getlist("Accept")))
        gzip = wants_gzip(",".join(request.headers.getlist("Accept-Encoding")))
        try:
            rendering = self._selected(request)
        except WrongParameter as error:
            return PlainTextResponse(f"{error}\n", HTTPStatus.BAD_REQUEST)
        size, chunks = rendering.body(openmetrics=openmetrics, gzip=gzip)
        headers = {"Content-Type": OPENMETRICS if openmetrics else TEXT, "Vary": "Accept, Accept-Encoding"}
        headers |= {"Content-Encoding": "gzip"} if gzip else {}
        return LargeResponse(size, chunks, headers, None if gzip else self._plain)

    def _selected(self, request: Request) -> Exposition:
        query, rendering = request.query_params, self._endpoint.exposition()
        if COLLECT not in query and EXCLUDE not in query:
            return rendering
        chosen = chosen_collectors(query.getlist(COLLECT), query.getlist(EXCLUDE), self._endpoint.collectors())
        return rendering.of_collectors(chosen)

    async def healthy(self, _: Request) -> Response:
        return PlainTextResponse("The agent is running.\n")

    async def ready(self, _: Request) -> Response:
        if self._endpoint.ready():
            return PlainTextResponse("The agent is ready.\n")
        message = "The first poll of every source has not ended yet.\n"
        return PlainTextResponse(message, HTTPStatus.SERVICE_UNAVAILABLE)

    async def reload(self, request: Request) -> Response:
        if is_cross_site(request):
            return PlainTextResponse("A reload cannot be ordered from another site.\n", HTTPStatus.FORBIDDEN)
        try:
            await run_in_threadpool(self._endpoint.reload)
        except ConfigurationError as error:
            lines = [" ".join(str(fault).split()) + "\n" for fault in error.faults]
            return PlainTextResponse("".join(lines).encode(errors="replace"), HTTPStatus.BAD_REQUEST)
        return PlainTextResponse("The configuration was reloaded.\n")


async def _failed(_: Request, __: Exception) -> Response:
    return PlainTextResponse("Internal Server Error\n", HTTPStatus.INTERNAL_SERVER_ERROR)
