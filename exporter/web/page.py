"""The status page: what the agent knows about itself, for a person. Whatever came from outside is escaped."""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from exporter.status import SourceStatus, Status

_UNKNOWN = "unknown"


class StatusPage:
    """The page; ``address`` tells where a static file is found."""

    def __init__(self, address: Callable[[str], str]) -> None:
        environment = Environment(
            loader=PackageLoader("exporter.web"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {
            "instant": instant, "ago": ago, "span": span, "size": size, "number": number, "state": source_state,
        }  # fmt: skip
        environment.globals |= {"static": address}
        self._template = environment.get_template("status.html")

    def render(self, status: Status) -> bytes:
        """Render the page as UTF-8; what UTF-8 cannot say becomes a question mark."""
        polls = sorted(status.polls, key=lambda poll: poll.started_at, reverse=True)
        waiting = any(source_state(source) == "waiting" for source in status.sources)
        text = self._template.render(status=status, polls=polls, troubles=troubles(status), waiting=waiting)
        return text.encode(errors="replace")


def troubles(status: Status) -> list[str]:
    """Name everything that needs attention now, one phrase each."""
    found = [f"The source {source.name} is down" for source in status.sources if source_state(source) == "down"]
    found += [f"The collector {collector.name} failed" for collector in status.collectors if not collector.success]
    if status.config_error is not None:
        found.append("The last configuration was not taken")
    return found


def source_state(source: SourceStatus) -> str:
    """Return ``up``, ``down``, or ``waiting`` for a source that was never tried."""
    if source.up:
        return "up"
    return "waiting" if source.tried_at is None else "down"


def instant(seconds: float) -> str:
    """Write an instant in UTC as ISO 8601; Tableau's infinities and other impossible instants are unknown."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return _UNKNOWN


def ago(seconds: float, now: float) -> str:
    """Write the distance of an instant from now."""
    distance = now - seconds
    if not math.isfinite(distance):
        return ""
    if abs(distance) < 1:
        return "just now"
    return f"{_coarse(distance)} ago" if distance > 0 else f"in {_coarse(-distance)}"


def span(seconds: float) -> str:
    """Write a span in the unit that suits it."""
    if not math.isfinite(seconds):
        return _UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else _coarse(seconds)


def _coarse(seconds: float) -> str:
    """Write a span in its largest unit, and the next one where the count is small."""
    for unit, length, part, share in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        whole, rest = divmod(int(seconds), length)
        if whole:
            return f"{whole:,} {unit}" + (f" {rest // share} {part}" if whole < 10 and rest >= share else "")
    return f"{int(seconds)} s"


def size(count: float) -> str:
    """Write a number of bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def number(count: int) -> str:
    """Write a count with its thousands apart."""
    return f"{count:,}"
