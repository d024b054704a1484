"""Jinja environment of all pages, with its filters, and the static files. Everything from outside is escaped."""

import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import resources
from mimetypes import guess_type
from typing import Any
from urllib.parse import quote

from jinja2 import DictLoader, Environment, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from exporter.collectors.assets.rows import page_url
from exporter.status import SourceStatus
from exporter.texts import UNKNOWN, coarse, span

_FRESHNESS_SOURCES = {
    "metadata": "Metadata API",
    "job": "refresh jobs",
    "flow_run": "flow runs",
    "task": "refresh tasks",
}


def environment(address: Callable[[str], str], telemetry_path: str = "/metrics") -> Environment:
    """Return the environment of all pages; ``address`` returns the URL of a static file.

    A template is compiled for its first page: all of them would be an eighth of the time of a start. They are read now,
    so that an upgrade of a running agent, or a lack of descriptors, changes no page.
    """
    sources = (resources.files("exporter.web") / "templates").iterdir()
    made = Environment(
        loader=DictLoader({source.name: source.read_text(encoding="utf-8") for source in sources}),
        autoescape=True,
        auto_reload=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "instant": instant, "minute": minute, "ago": ago, "span": span, "size": size, "number": number, "hours": hours,
        "state": source_state, "freshness_source": freshness_source,
    }  # fmt: skip
    made.globals |= {
        "static": address,
        "asset_path": asset_path,
        "page_url": page_url,
        "to": to,
        "telemetry_path": telemetry_path,
    }
    return made


def encoded(environment: Environment, template: str, values: Mapping[str, Any]) -> bytes:
    """Render a page as UTF-8; unencodable characters become question marks."""
    return environment.get_template(template).render(values).encode(errors="replace")


@pass_context
def to(context: Context, address: str) -> str:
    """Return an address of the agent relative to the page, so that the pages work below any path of a proxy."""
    return f"{context['root']}{address.removeprefix('/')}"


def root_of(path: str) -> str:
    """Return the way from a page back to the root, by the path of its request as the client sent it."""
    return "../" * (path.count("/") - 1) or "./"


def asset_path(asset_type: str, asset_id: str) -> str:
    """Return where an asset's page is."""
    return f"/assets/{quote(asset_type, safe='')}/{quote(asset_id.encode(errors='replace'), safe='')}"


def instant(seconds: float) -> str:
    """Write an instant in UTC as ISO 8601; Tableau's infinities and other impossible instants are unknown."""
    return _written(seconds, "%Y-%m-%dT%H:%M:%SZ")


def minute(seconds: float) -> str:
    """Write an instant in UTC as a person reads it, to the minute."""
    return _written(seconds, "%Y-%m-%d %H:%M")


def _written(seconds: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def ago(seconds: float, now: float) -> str:
    """Write the distance of an instant from now."""
    distance = now - seconds
    if not math.isfinite(distance):
        return ""
    if abs(distance) < 1:
        return "just now"
    return f"{coarse(distance)} ago" if distance > 0 else f"in {coarse(-distance)}"


def size(count: float) -> str:
    """Write a number of bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def number(count: float) -> str:
    """Write a count with its thousands apart."""
    return f"{count:,.0f}"


def hours(count: float) -> str:
    """Write hours, with one decimal unless it is zero."""
    return f"{count:,.1f}".removesuffix(".0")


def freshness_source(name: str) -> str:
    """Return what a source of freshness is called on the pages."""
    return _FRESHNESS_SOURCES.get(name, name)


def source_state(source: SourceStatus) -> str:
    """Return ``up``, ``down``, or ``waiting`` for a source that was never tried."""
    if source.up:
        return "up"
    return "waiting" if source.tried_at is None else "down"


class StaticFiles:
    """Everything in ``static/``, in memory."""

    def __init__(self) -> None:
        folder = resources.files("exporter.web") / "static"
        self._contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}

    def address(self, name: str) -> str:
        """Return where a page finds a file."""
        return f"/static/{name}?v={hashlib.sha256(self._contents[name]).hexdigest()[:12]}"

    async def answer(self, request: Request) -> Response:
        """Answer a request for one file."""
        name = request.path_params["name"]
        if name not in self._contents:
            raise HTTPException(404)
        media_type, _ = guess_type(name)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(self._contents[name], headers=headers, media_type=media_type)
