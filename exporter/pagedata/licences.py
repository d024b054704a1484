"""The lists of the licences page: users who do not sign in, credentials that expire, content of unlicensed owners."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.collectors.licences.credentials import CREDENTIALS
from exporter.collectors.licences.owners import ORPHANS
from exporter.collectors.licences.users import INACTIVE_USERS
from exporter.pagedata.query_results import HistoryAnswer

LISTS: Mapping[str, str] = {"users": INACTIVE_USERS, "credentials": CREDENTIALS, "owners": ORPHANS}
"""The lists by their names on the page: each is ``StateHistory.page`` of the state that has such rows."""


@dataclass(frozen=True)
class LicenceRow:
    """A user, a credential or content; ``happens_at`` is the last sign-in or the expiry (Unix seconds).

    ``kind`` is the site role, the kind of credential or the type of content, ``reason`` the state of the owner. Names
    are under the privacy options; unknown texts are empty.
    """

    site: str
    project: str
    kind: str
    name: str
    reason: str
    happens_at: float | None
    used_at: float | None
    user: str


@dataclass(frozen=True)
class LicenceList:
    """The rows of one list in order, and when they were queried (Unix seconds)."""

    queried_at: float
    rows: Sequence[LicenceRow]

    @classmethod
    def of(cls, answer: HistoryAnswer) -> "LicenceList":
        """Build it of an answer of the history."""
        rows = [
            LicenceRow(
                answer.sites.get(row["site_id"], ""),
                row["project"] or "",
                row["kind"] or "",
                row["name"] or "",
                row["reason"] or "",
                row["happens_at"],
                row["used_at"],
                row["user_name"] or row["user"] or "",
            )
            for row in answer.rows.to_pylist()
        ]
        return cls(answer.queried_at, rows)
