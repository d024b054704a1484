"""An alert as Alertmanager takes it: its labels are what it is, its annotations what is said of it.

The same labels as those of Prometheus' rules make the same alert, so a value is what Prometheus would see of it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

OF_ALERTS = frozenset(
    {
        *("alertname", "severity", "site", "project", "asset_type", "asset_id", "asset_name", "content_owner"),
        *("owner_email", "source", "collector", "column", "kind", "alertmanager", "rule"),
        *("table", "format", "destination"),
    }
)
"""The labels that tell one of the agent's alerts from another."""

LONGEST_LABEL = 2048
LONGEST_ANNOTATION = 4096
_HASH_DIGITS = 12
_CUT = "..."

# What ends a line, moves a cursor, or turns the direction of what follows; a newline is text.
_CONTROLS = {
    sign: "\ufffd"
    for span in (range(0x20), range(0x7F, 0xA0), range(0x2028, 0x202F), range(0x2066, 0x206A))
    for sign in span
    if chr(sign) != "\n"
}
_CONTROLS[ord("\t")] = " "


@dataclass(frozen=True)
class Alert:
    """One alert between two instants (Unix seconds); one whose end has passed is resolved.

    ``labels`` are sorted by name and have no empty values: see ``bounded_labels``.
    """

    labels: tuple[tuple[str, str], ...]
    annotations: Mapping[str, str] = field(hash=False)
    starts_at: float
    ends_at: float

    def to_json(self, labels: Mapping[str, str] | None = None) -> bytes:
        """Return it as an element of what is posted to Alertmanager's API v2, with more labels."""
        body = {
            "labels": {**dict(self.labels), **(labels or {})},
            "annotations": dict(self.annotations),
            "startsAt": _instant(self.starts_at),
            "endsAt": _instant(self.ends_at),
        }
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def bounded_labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return labels as the identity of an alert: sorted, without empty ones, each of them of bounded length."""
    return tuple(sorted((name, _label(value)) for name, value in labels.items() if value))


def bounded_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return annotations that are safe to show, each of bounded length; empty ones are left out."""
    return {name: _annotation(value) for name, value in annotations.items() if value}


def _label(value: str) -> str:
    text = _encodable(value)
    if len(text) <= LONGEST_LABEL:
        return text
    # Two long values that begin alike stay two.
    mark = f"{_CUT}{hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]}"
    return text[: LONGEST_LABEL - len(mark)] + mark


def _annotation(value: str) -> str:
    # Nearly all are printable, and none of what is not wanted is.
    text = value if value.isprintable() else _encodable(value).replace("\r\n", "\n").translate(_CONTROLS)
    return text if len(text) <= LONGEST_ANNOTATION else text[: LONGEST_ANNOTATION - len(_CUT)] + _CUT


def _encodable(value: str) -> str:
    """Replace lone surrogates as the exposition does: Prometheus must see the same value."""
    return value if value.isprintable() else value.encode("utf-8", "replace").decode("utf-8")


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
