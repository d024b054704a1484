"""The routes. What they serve they ask of an endpoint, whose answers are ready before the question."""

from http import HTTPStatus
from typing import Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from exporter.errors import ConfigurationError
from exporter.status import Status
from exporter.web.access import Access
from exporter.web.files import StaticFiles
from exporter.web.guard import SECURITY_HEADERS, BasicAuthentication, SecurityHeaders, comes_from_elsewhere
from exporter.web.negotiation import OPENMETRICS, TEXT, wants_gzip, wants_openmetrics
from exporter.web.page import StatusPage


class Rendering(Protocol):
    """An exposition in every form it may be asked for."""

    @property
    def text(self) -> bytes:
        """The text format 0.0.4."""

    @property
    def text_gzip(self) -> bytes:
        """The same, compressed."""

    @property
    def openmetrics(self) -> bytes:
        """OpenMetrics 1.0.0."""

    @property
    def openmetrics_gzip(self) -> bytes:
        """The same, compressed."""


class Endpoint(Protocol):
    """What is served. All but ``reload`` are called on the event loop and return at once."""

    def exposition(self) -> Rendering:
        """Return the newest rendering."""

    def ready(self) -> bool:
        """Tell whether the first poll of every source has been tried."""

    def status(self) -> Status:
        """Return what the status page shows."""

    def reload(self) -> None:
        """Read the configuration anew, all or nothing; raise ConfigurationError. Called on a thread of its own."""


def application(endpoint: Endpoint, access: Access | None = None) -> Starlette:
    """Build the application; without an access everybody may ask."""
    static = StaticFiles()
    routes = _Routes(endpoint, StatusPage(static.address))
    guard = access or Access()
    app = Starlette(
        routes=[
            Route("/", routes.page),
            Route("/metrics", routes.metrics),
            Route("/-/healthy", routes.healthy),
            Route("/-/ready", routes.ready),
            Route("/-/reload", routes.reload, methods=["POST"]),
            Route("/static/{name}", static.answer),
        ],
        middleware=[Middleware(SecurityHeaders, access=guard), Middleware(BasicAuthentication, access=guard)],
        exception_handlers={Exception: _failed},
    )
    app.router.redirect_slashes = False
    return app


class _Routes:
    """The answers of an endpoint over HTTP; Starlette answers HEAD wherever GET is answered."""

    def __init__(self, endpoint: Endpoint, page: StatusPage) -> None:
        self._endpoint = endpoint
        self._page = page

    async def page(self, _: Request) -> Response:
        return HTMLResponse(self._page.render(self._endpoint.status()))

    async def metrics(self, request: Request) -> Response:
        rendering = self._endpoint.exposition()
        openmetrics = wants_openmetrics(",".join(request.headers.getlist("Accept")))
        gzip = wants_gzip(",".join(request.headers.getlist("Accept-Encoding")))
        if gzip:
            body = rendering.openmetrics_gzip if openmetrics else rendering.text_gzip
        else:
            body = rendering.openmetrics if openmetrics else rendering.text
        headers = {"Content-Type": OPENMETRICS if openmetrics else TEXT, "Vary": "Accept, Accept-Encoding"}
        return Response(body, headers=headers | ({"Content-Encoding": "gzip"} if gzip else {}))

    async def healthy(self, _: Request) -> Response:
        return PlainTextResponse("The agent is running.\n")

    async def ready(self, _: Request) -> Response:
        if self._endpoint.ready():
            return PlainTextResponse("The agent is ready.\n")
        message = "The first poll of every source has not been tried yet.\n"
        return PlainTextResponse(message, HTTPStatus.SERVICE_UNAVAILABLE)

    async def reload(self, request: Request) -> Response:
        if comes_from_elsewhere(request):
            return PlainTextResponse("A reload cannot be ordered from another site.\n", HTTPStatus.FORBIDDEN)
        try:
            await run_in_threadpool(self._endpoint.reload)
        except ConfigurationError as error:
            lines = [" ".join(str(fault).split()) + "\n" for fault in error.faults]
            return PlainTextResponse("".join(lines).encode(errors="replace"), HTTPStatus.BAD_REQUEST)
        return PlainTextResponse("The configuration was reloaded.\n")


async def _failed(_: Request, __: Exception) -> Response:
    """Answer for a defect of ours; it stands outside the middleware, so it brings the headers itself."""
    return PlainTextResponse("Internal Server Error\n", HTTPStatus.INTERNAL_SERVER_ERROR, SECURITY_HEADERS)
