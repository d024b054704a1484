"""A notification about an alert, as Alertmanager's API v2 has it; bounds of labels and annotations.

Alertmanager takes alerts with the same labels for one, so labels are those of Prometheus' rules.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from exporter.texts import WITHHELD, quotes

Pairs = tuple[tuple[str, str], ...]
"""Labels: sorted, none of them empty, each of bounded length."""

OF_ALERTS = frozenset(
    {
        *("alertname", "severity", "site", "project", "asset_type", "asset_id", "asset_name", "content_owner"),
        *("owner_email", "source", "collector", "column", "kind", "alertmanager", "rule", "pool"),
        *("table", "format", "destination"),
    }
)
"""The labels that may identify one of the agent's alerts."""

AHEAD_SECONDS = 240.0
"""How long a firing alert lasts after each notification: more than the time to the next."""
MAX_LABEL = 2048
MAX_ANNOTATION = 4096
MAX_LINE = 300
_HASH_DIGITS = 12
_CUT = "..."

# Control characters and those that change the direction of text; a newline is text.
_CONTROLS = {
    sign: "\ufffd"
    for span in (range(0x20), range(0x7F, 0xA0), range(0x2028, 0x202F), range(0x2066, 0x206A))
    for sign in span
    if chr(sign) != "\n"
}
_CONTROLS[ord("\t")] = " "


@dataclass(frozen=True)
class Notification:
    """One alert to send: firing, or ended to the Alertmanagers in ``owed`` (Unix seconds).

    ``labels`` are sorted by name and have no empty values: see ``bounded_labels``.
    """

    labels: Pairs
    annotations: Mapping[str, str] = field(hash=False)
    starts_at: float
    ends_at: float | None = None
    value: float = 0.0
    owed: frozenset[str] = frozenset()

    @property
    def rule(self) -> str:
        """Name and severity."""
        labels = dict(self.labels)
        return f"{labels.get('alertname', '')} {labels.get('severity', '')}"

    @property
    def is_about_asset(self) -> bool:
        """Whether its labels have names that users gave in Tableau."""
        return any(name == "asset_id" for name, _ in self.labels)

    @property
    def is_critical(self) -> bool:
        """Whether its severity is critical."""
        return ("severity", "critical") in self.labels

    def prepared(self, annotations: Mapping[str, str], now: float) -> "Notification":
        """Return it with annotations, as it is sent now: one that fires ends a while after the next sending."""
        starts_at = min(self.starts_at, now)
        ends_at = now + AHEAD_SECONDS if self.ends_at is None else max(self.ends_at, starts_at)
        return replace(self, annotations=annotations, starts_at=starts_at, ends_at=ends_at)

    def to_json(self, labels: Mapping[str, str] | None = None) -> bytes:
        """Return it as an element of a request to Alertmanager's API v2, with more labels."""
        body = {
            "labels": {**dict(self.labels), **(labels or {})},
            "annotations": dict(self.annotations),
            "startsAt": _instant(self.starts_at),
            "endsAt": _instant(self.starts_at + AHEAD_SECONDS if self.ends_at is None else self.ends_at),
        }
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def bounded_labels(labels: Mapping[str, str]) -> Pairs:
    """Return labels as the identity of an alert: sorted, without empty ones, each of them of bounded length."""
    return tuple(sorted((name, _label(value)) for name, value in labels.items() if value))


def bounded_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return annotations that are safe to display, each of bounded length; empty ones are left out."""
    return {name: _annotation(value) for name, value in annotations.items() if value}


def _label(value: str) -> str:
    text = _encodable(value)
    if len(text) <= MAX_LABEL:
        return text
    # Two long values that begin alike stay two.
    mark = f"{_CUT}{hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]}"
    return text[: MAX_LABEL - len(mark)] + mark


def _annotation(value: str) -> str:
    # Nearly all are printable, and none of what is not wanted is.
    text = value if value.isprintable() else _encodable(value).replace("\r\n", "\n").translate(_CONTROLS)
    return text if len(text) <= MAX_ANNOTATION else text[: MAX_ANNOTATION - len(_CUT)] + _CUT


def _encodable(value: str) -> str:
    """Replace lone surrogates as the exposition does: Prometheus must see the same value."""
    return value if value.isprintable() else value.encode("utf-8", "replace").decode("utf-8")


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(text: object, secrets: Iterable[str] = ()) -> str:
    """Return a foreign text as one printable line of bounded length; nothing of one that quotes a secret."""
    foreign = str(text)
    if quotes(foreign, secrets, str.casefold):
        return WITHHELD
    foreign = " ".join("".join(sign if sign.isprintable() else " " for sign in foreign).split())
    return foreign if len(foreign) <= MAX_LINE else f"{foreign[:MAX_LINE]}..."
