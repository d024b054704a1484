"""An endpoint with given answers, and a client that returns the very bytes of an answer."""

import asyncio
import gzip
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import httpx
from starlette.types import ASGIApp

from exporter.errors import ConfigurationError
from exporter.pagedata.builder import PageData
from exporter.status import (
    ArchiveStatus,
    CollectorStatus,
    ExportStatus,
    FreshnessSource,
    PollStatus,
    SourceStatus,
    Status,
)
from exporter.web.server import WebServer

Started = Callable[[WebServer], WebServer]
NOW = 1_785_146_400.0  # 2026-07-27T10:00:00Z


@dataclass(frozen=True)
class FakeRendering:
    """Four renderings that cannot be mistaken for each other."""

    text: bytes = b"tableau_up 1\n"
    text_gzip: bytes = gzip.compress(b"tableau_up 1\n", mtime=7)
    openmetrics: bytes = b"tableau_up 1.0\n# EOF\n"
    openmetrics_gzip: bytes = gzip.compress(b"tableau_up 1.0\n# EOF\n", mtime=7)
    asked_of: list[set[str]] = field(default_factory=list)

    def of_collectors(self, collectors: Collection[str]) -> "FakeRendering":
        """Note the collectors, and return the same."""
        self.asked_of.append(set(collectors))
        return self

    def body(self, *, openmetrics: bool, gzip: bool) -> tuple[int, Iterator[bytes]]:
        """Return one of them, in two parts."""
        whole: bytes = getattr(self, ("openmetrics" if openmetrics else "text") + ("_gzip" if gzip else ""))
        return len(whole), iter([whole[:7], whole[7:]])


def a_status() -> Status:
    """Return a status in which every field has a value."""
    return Status(
        version="0.1.0",
        now=NOW,
        started_at=NOW - 90_000,
        sources=(
            SourceStatus("repository", True, "db:8060", "15.10", NOW - 12, NOW - 12),
            SourceStatus("rest", False, "https://tableau", "2024.2", NOW - 40, NOW - 7_200, "no answer"),
        ),
        collectors=(
            CollectorStatus("http_requests", True, 0.184, NOW - 12, 1_423, None, "a column is missing"),
            CollectorStatus("logins", False, 30.0, None, None, "timed out"),
        ),
        polls=(PollStatus(NOW - 72, 0.25, "fast", 13, 2), PollStatus(NOW - 12, 0.2, "exact", 1_423, 210, "file busy")),
        archive=ArchiveStatus(
            "history.duckdb", 734_003_200, 48_213_377, 14, NOW - 864_000, NOW - 13, 991, 312, (("truncated", 3),)
        ),
        config_file="agent.yml",
        config_error="web: unknown key",
        freshness_sources=(
            FreshnessSource("default", "metadata", NOW - 7_200),
            FreshnessSource("default", "job", NOW - 40),
            FreshnessSource("marketing", "flow_run", NOW - 40),
        ),
        exports=(
            ExportStatus("http_requests", "parquet", "s3://lake/requests", 81_234, 0, NOW - 600),
            ExportStatus("logins", "csv", "/share", 0, 3, None, "the disk is full"),
        ),
    )


@dataclass
class FakeEndpoint:
    """The endpoint that the application serves, under the control of a test."""

    is_ready: bool = True
    fault: ConfigurationError | None = None
    rendered: Status = field(default_factory=a_status)
    pages_shown: PageData = field(default_factory=PageData)
    rendering: FakeRendering = field(default_factory=FakeRendering)
    collectors_known: Mapping[str, bool] = field(default_factory=dict)
    reloads: int = 0
    defect: Exception | None = None

    def exposition(self) -> FakeRendering:
        """Return the rendering, or fail as a defect would."""
        if self.defect is not None:
            raise self.defect
        return self.rendering

    def collectors(self) -> Mapping[str, bool]:
        """Return the test's answer."""
        return self.collectors_known

    def ready(self) -> bool:
        """Return the test's answer."""
        return self.is_ready

    def status(self) -> Status:
        """Return the test's answer."""
        return self.rendered

    def pages(self) -> PageData:
        """Return the test's answer."""
        return self.pages_shown

    def reload(self) -> None:
        """Count the reload, and fail where the test requires it."""
        self.reloads += 1
        if self.fault is not None:
            raise self.fault


@dataclass(frozen=True)
class Answer:
    """An answer as it goes over the wire: nothing is decoded."""

    status: int
    headers: httpx.Headers
    body: bytes


def ask(app: ASGIApp, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Send one request with exactly these headers, and Host."""
    return asyncio.run(_ask(app, httpx.Request(method, f"http://agent.test{path}", headers=headers)))


async def _ask(app: ASGIApp, request: httpx.Request) -> Answer:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with transport:
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        body = b"".join([chunk async for chunk in response.stream])
        return Answer(response.status_code, response.headers, body)
