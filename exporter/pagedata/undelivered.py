"""Deliveries that fail: subscriptions and data alerts that are failing or suspended, and who waits for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exporter.pagedata.query_results import HistoryAnswer

UNDELIVERED = "undelivered"
"""The page: ``StateHistory.page`` of the states that have such rows."""


@dataclass(frozen=True)
class Undelivered:
    """One delivery to one user, under the privacy options; ``last_sent_at`` in Unix seconds.

    Unknown texts are empty.
    """

    kind: str
    site: str
    project: str
    name: str
    content_name: str
    state: str
    consecutive_failures: int | None
    last_sent_at: float | None
    recipient: str


@dataclass(frozen=True)
class UndeliveredList:
    """Every delivery that fails, and when the oldest of its parts was read (Unix seconds)."""

    queried_at: float
    rows: Sequence[Undelivered]

    @classmethod
    def of(cls, answers: Sequence[HistoryAnswer]) -> "UndeliveredList":
        """Build it of the answers of several states."""
        rows = [row for answer in answers for row in _rows(answer)]
        rows.sort(key=lambda row: (row.site, row.project, row.kind, row.name, row.recipient))
        return cls(min(answer.queried_at for answer in answers), rows)


def _rows(answer: HistoryAnswer) -> Iterable[Undelivered]:
    for row in answer.rows.to_pylist():
        yield Undelivered(
            row["kind"],
            answer.sites.get(row["site_id"], ""),
            row["project"] or "",
            row["name"] or "",
            row["content_name"] or "",
            row["state"],
            row["consecutive_failures"],
            row["last_sent_at"],
            _person(row["recipient"] or "", row["recipient_name"] or "", row["recipient_email"] or ""),
        )


def _person(login: str, name: str, email: str) -> str:
    """Return a user as text: ``Priya Shah <priya@example.com>``."""
    known = name or login
    return f"{known} <{email}>" if email and known not in {"", email} else known or email
