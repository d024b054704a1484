"""The routes of the pages. What they show was ready before; few are made at once, and no scrape waits for them."""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from exporter.exposition.pages import Pages
from exporter.status import Status
from exporter.web import asset, assets, choosing, usage
from exporter.web.downloads import download, refusal
from exporter.web.environment import encoded, root_of, source_state
from exporter.web.large import StreamedInTurn
from exporter.web.page import StatusPage
from exporter.web.parameters import Parameters, WrongParameter
from exporter.web.turns import Busy, Turns, busy, has_left

_AT_ONCE, _WAITING, _FILES = 2, 16, 16


class Shown(Protocol):
    """What the pages are made of."""

    def status(self) -> Status:
        """Return what the agent knows of itself."""

    def pages(self) -> Pages:
        """Return what the pages show."""


Made = Callable[[Request], Response]


class PageRoutes:
    """The pages of an agent; Starlette answers HEAD wherever GET is answered."""

    def __init__(self, shown: Shown, environment: Environment) -> None:
        self._shown = shown
        self._environment = environment
        self._status_page = StatusPage(environment)
        self._turns = Turns(_AT_ONCE, _AT_ONCE + _WAITING)
        self._file_turns = Turns(_AT_ONCE, _FILES)

    def routes(self) -> list[Route]:
        """Return the routes."""
        pages: Mapping[str, Made] = {
            "/": self.status,
            "/assets": self.assets,
            "/assets.csv": partial(self.assets_file, "csv"),
            "/assets.json": partial(self.assets_file, "json"),
            "/assets/{asset_type}/{asset_id:path}": self.asset,
            "/usage": self.usage,
            "/usage.csv": partial(self.usage_file, "csv"),
            "/usage.json": partial(self.usage_file, "json"),
        }
        return [Route(path, self._in_turn(made)) for path, made in pages.items()]

    def _in_turn(self, made: Made) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                with self._turns.seat():
                    return await self._made(made, request)
            except Busy:
                return busy()

        return answer

    async def _made(self, made: Made, request: Request) -> Response:
        """Make a page when it is its turn, unless nobody waits for it any more."""
        async with self._turns.turn():
            if await has_left(request):
                return Response()
            page = await self._turns.thread(partial(self._made_or_wrong, made, request))
            return StreamedInTurn(page, self._file_turns) if isinstance(page, StreamingResponse) else page

    def _made_or_wrong(self, made: Made, request: Request) -> Response:
        try:
            return made(request)
        except WrongParameter as wrong:
            return self._wrong(request, str(wrong))

    def status(self, request: Request) -> Response:
        """Show what the agent knows of itself."""
        Parameters(request.query_params, ())
        return HTMLResponse(self._status_page.render(self._shown.status(), self._shown.pages()))

    def assets(self, request: Request) -> Response:
        """Show the table of assets."""
        parameters = Parameters(request.query_params, choosing.PARAMETERS, ["status"])
        form = parameters.choice("format", ("html", "csv", "json"), "html")
        if form != "html":
            return self.assets_file(form, request)
        choice, page = choosing.Choice.of(parameters), parameters.page()
        pages, status = self._shown.pages(), self._shown.status()
        values = assets.listed(pages, pages.assets, status.now, choice, page) if pages.assets is not None else {}
        return self._page("assets.html", status, pages, {**values, **_root(request)})

    def assets_file(self, form: str, request: Request) -> Response:
        """Send everything that fits, as CSV or JSON."""
        parameters = Parameters(request.query_params, choosing.PARAMETERS, ["status"])
        parameters.choice("format", (form,), form)
        parameters.page()
        choice = choosing.Choice.of(parameters)
        pages, now = self._shown.pages(), self._shown.status().now
        among = choosing.alerted(pages, choice)
        rows = assets.file_rows(pages.assets, now, choice, among) if pages.assets is not None else iter(())
        return download("assets", form, assets.FILE_HEAD, rows)

    def asset(self, request: Request) -> Response:
        """Show one asset."""
        Parameters(request.query_params, ())
        pages, status = self._shown.pages(), self._shown.status()
        key = request.path_params["asset_type"], request.path_params["asset_id"]
        place = None if pages.assets is None else pages.assets.places.get(key)
        if pages.assets is None or place is None:
            line = "There is no such asset; it may have been deleted, or have another id."
            values = {"title": "No such asset", "line": line, "back": assets.PATH, **_root(request)}
            return self._page("wrong.html", status, pages, values, HTTPStatus.NOT_FOUND)
        values = {**asset.described(pages, pages.assets, place, status), **_root(request)}
        return self._page("asset.html", status, pages, values)

    def usage(self, request: Request) -> Response:
        """Show how much the server is used."""
        parameters = Parameters(request.query_params, usage.PARAMETERS)
        pages, status = self._shown.pages(), self._shown.status()
        asked = usage.Asked.of(parameters, usage.sites_of(pages))
        values = {**usage.shown(pages, asked, parameters.page(), status), **_root(request)}
        return self._page("usage.html", status, pages, values)

    def usage_file(self, form: str, request: Request) -> Response:
        """Send the hours, or a list of workbooks, as CSV or JSON."""
        parameters = Parameters(request.query_params, usage.FILE_PARAMETERS)
        parameters.page()
        pages = self._shown.pages()
        asked = usage.Asked.of(parameters, usage.sites_of(pages))
        if parameters.choice("of", usage.FILES, "hours") == "hours":
            rows = usage.hours_rows(pages.use, asked) if pages.use else iter(())
            return download("usage", form, usage.HOURS_HEAD, rows)
        content = asked.content(pages)
        listed = usage.content_rows(pages, content, asked) if content else iter(())
        return download("content", form, usage.CONTENT_HEAD, listed)

    def _page(
        self,
        template: str,
        status: Status,
        pages: Pages,
        values: Mapping[str, Any],
        code: HTTPStatus = HTTPStatus.OK,
    ) -> Response:
        silent = [source for source in status.sources if source_state(source) == "down"]
        waiting = any(source_state(source) == "waiting" for source in status.sources)
        known = {"status": status, "pages": pages, "silent": silent, "waiting": waiting}
        return HTMLResponse(encoded(self._environment, template, {**known, **values}), code)

    def _wrong(self, request: Request, line: str) -> Response:
        if request.url.path.endswith(".json"):
            return refusal(line)
        values = {
            "title": "Invalid request",
            "line": line,
            "back": request.url.path.removesuffix(".csv"),
            **_root(request),
        }
        return self._page("wrong.html", self._shown.status(), self._shown.pages(), values, HTTPStatus.BAD_REQUEST)


def _root(request: Request) -> Mapping[str, str]:
    """Return the way from the page to the root, by the path as it was sent: a slash within an id is escaped there."""
    sent: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return {"root": root_of(sent.decode("latin-1"))}
