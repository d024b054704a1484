"""The routes of the pages. Their data is ready before; few are rendered at once, and no scrape waits for them."""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from exporter.pagedata.builder import PageData
from exporter.status import Status
from exporter.web import asset_list, asset_page, asset_query, event_list, licences, undelivered, unused, usage
from exporter.web.concurrency import Busy, ConcurrencyLimit, busy, has_left
from exporter.web.downloads import download, refusal
from exporter.web.query_params import Parameters, WrongParameter
from exporter.web.status_page import StatusPage
from exporter.web.streaming import LimitedStreamingResponse
from exporter.web.templating import encoded, root_of, source_state
from exporter.web.web_config import Access

_AT_ONCE, _WAITING, _FILES = 2, 16, 16


class PageSource(Protocol):
    """The data of the pages."""

    def status(self) -> Status:
        """Return the status of the agent."""

    def pages(self) -> PageData:
        """Return the data of the other pages."""


Made = Callable[[Request], Response]


class PageRoutes:
    """The pages of an agent; Starlette answers HEAD wherever GET is answered."""

    def __init__(self, source: PageSource, environment: Environment, access: Access) -> None:
        self._source = source
        self._access = access
        self._environment = environment
        self._status_page = StatusPage(environment)
        self._limit = ConcurrencyLimit(_AT_ONCE, _AT_ONCE + _WAITING)
        self._file_limit = ConcurrencyLimit(_AT_ONCE, _FILES)

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
            "/events": self.events,
            "/events.csv": partial(self.events_file, "csv"),
            "/events.json": partial(self.events_file, "json"),
            undelivered.PATH: self.undelivered,
            licences.PATH: self.licences,
        }
        return [Route(path, self._in_turn(made)) for path, made in pages.items()]

    def _in_turn(self, made: Made) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                with self._limit.admit():
                    return await self._made(made, request)
            except Busy:
                return busy()

        return answer

    async def _made(self, made: Made, request: Request) -> Response:
        """Render a page in a slot, unless the client has disconnected."""
        async with self._limit.slot():
            if await has_left(request):
                return Response()
            page = await self._limit.thread(partial(self._made_or_wrong, made, request))
            return LimitedStreamingResponse(page, self._file_limit) if isinstance(page, StreamingResponse) else page

    def _made_or_wrong(self, made: Made, request: Request) -> Response:
        try:
            return made(request)
        except WrongParameter as wrong:
            return self._wrong(request, str(wrong))

    def status(self, request: Request) -> Response:
        """Render the status page."""
        Parameters(request.query_params, ())
        return HTMLResponse(self._status_page.render(self._source.status(), self._source.pages()))

    def assets(self, request: Request) -> Response:
        """Render the table of assets."""
        parameters = Parameters(request.query_params, asset_query.PARAMETERS, ["status"])
        form = parameters.choice("format", ("html", "csv", "json"), "html")
        if form != "html":
            return self.assets_file(form, request)
        choice, page = asset_query.Choice.of(parameters), parameters.page()
        pages, status = self._source.pages(), self._source.status()
        values = asset_list.listed(pages, pages.assets, status.now, choice, page) if pages.assets is not None else {}
        return self._page("assets.html", status, pages, {**values, **_root(request)})

    def assets_file(self, form: str, request: Request) -> Response:
        """Send all assets that match, as CSV or JSON."""
        parameters = Parameters(request.query_params, asset_query.PARAMETERS, ["status"])
        parameters.choice("format", (form,), form)
        parameters.page()
        choice = asset_query.Choice.of(parameters)
        pages, now = self._source.pages(), self._source.status().now
        among = asset_query.alerted(pages, choice)
        rows = asset_list.file_rows(pages.assets, now, choice, among) if pages.assets is not None else iter(())
        return download("assets", form, asset_list.FILE_HEAD, rows)

    def asset(self, request: Request) -> Response:
        """Render the page of one asset."""
        Parameters(request.query_params, ())
        pages, status = self._source.pages(), self._source.status()
        key = request.path_params["asset_type"], request.path_params["asset_id"]
        place = None if pages.assets is None else pages.assets.places.get(key)
        if pages.assets is None or place is None:
            line = "There is no such asset; it may have been deleted, or have another id."
            values = {"title": "No such asset", "line": line, "back": asset_list.PATH, **_root(request)}
            return self._page("wrong.html", status, pages, values, HTTPStatus.NOT_FOUND)
        values = {**asset_page.described(pages, pages.assets, place, status), **_root(request)}
        return self._page("asset.html", status, pages, values)

    def usage(self, request: Request) -> Response:
        """Render the usage page."""
        parameters = Parameters(request.query_params, usage.PARAMETERS)
        pages, status = self._source.pages(), self._source.status()
        asked = usage.Asked.of(parameters, usage.sites_of(pages))
        values = {**usage.shown(pages, asked, parameters.page(), status), **_root(request)}
        return self._page("usage.html", status, pages, values)

    def usage_file(self, form: str, request: Request) -> Response:
        """Send the hours, or a list of workbooks, as CSV or JSON."""
        parameters = Parameters(request.query_params, usage.FILE_PARAMETERS)
        parameters.page()
        pages = self._source.pages()
        asked = usage.Asked.of(parameters, usage.sites_of(pages))
        if parameters.choice("of", usage.FILES, "hours") == "hours":
            rows = usage.hours_rows(pages.usage, asked) if pages.usage else iter(())
            return download("usage", form, usage.HOURS_HEAD, rows)
        if asked.is_of_unused:
            unopened = unused.file_rows(pages.unused, asked.of_content, asked.site) if pages.unused else iter(())
            return download("unused", form, unused.HEAD, unopened)
        content = asked.content(pages)
        listed = usage.content_rows(pages, content, asked) if content else iter(())
        return download("content", form, usage.CONTENT_HEAD, listed)

    def events(self, request: Request) -> Response:
        """Render the page of events; it names users only to those who have signed in."""
        parameters = Parameters(request.query_params, event_list.PARAMETERS)
        choice, page = event_list.Choice.of(parameters, names=self._access.authenticates), parameters.page()
        pages, status = self._source.pages(), self._source.status()
        values = event_list.listed(pages.events, choice, page) if pages.events else {}
        return self._page("events.html", status, pages, {**values, **_root(request)})

    def events_file(self, form: str, request: Request) -> Response:
        """Send all events that match, as CSV or JSON."""
        parameters = Parameters(request.query_params, event_list.PARAMETERS)
        parameters.page()
        choice = event_list.Choice.of(parameters, names=self._access.authenticates)
        answer = self._source.pages().events
        rows = event_list.file_rows(answer, choice) if answer else iter(())
        return download("events", form, event_list.FILE_HEAD, rows)

    def undelivered(self, request: Request) -> Response:
        """Render the page of deliveries that fail; names of users only where every request is authenticated."""
        parameters = Parameters(request.query_params, undelivered.PARAMETERS)
        pages, status = self._source.pages(), self._source.status()
        values = undelivered.listed(pages, parameters, with_names=self._access.authenticates)
        return self._page("undelivered.html", status, pages, {**values, **_root(request)})

    def licences(self, request: Request) -> Response:
        """Render the page of licences; names of users only where every request is authenticated."""
        parameters = Parameters(request.query_params, licences.PARAMETERS)
        pages, status = self._source.pages(), self._source.status()
        values = licences.listed(pages, parameters, with_names=self._access.authenticates)
        return self._page("licences.html", status, pages, {**values, **_root(request)})

    def _page(
        self,
        template: str,
        status: Status,
        pages: PageData,
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
        return self._page("wrong.html", self._source.status(), self._source.pages(), values, HTTPStatus.BAD_REQUEST)


def _root(request: Request) -> Mapping[str, str]:
    """Return the way from the page to the root, by the path as it was sent: a slash within an id is escaped there."""
    sent: bytes = request.scope.get("raw_path") or request.url.path.encode()
    return {"root": root_of(sent.decode("latin-1"))}
