"""The page of the audit log's last events, and the same as a file: who downloaded, published or deleted what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exporter.pagedata.query_results import HistoryAnswer
from exporter.tabular import Cell
from exporter.web.downloads import at
from exporter.web.query_params import Paging, Parameters, address

PATH, CSV_PATH, JSON_PATH = "/events", "/events.csv", "/events.json"
PARAMETERS = ("q", "site", "action", "page")
FILE_HEAD = (
    "created_at_utc", "site", "action_type", "event", "is_failure", "actor", "target_user", "content_type", "content",
)  # fmt: skip
CONTENT = ("view", "workbook", "datasource", "project")
"""The kinds of content in the order in which one of them names an event."""
ROWS = 100
PERSONAL = ("actor", "target_user")


@dataclass(frozen=True)
class Row:
    """An event as a row of the page; ``at`` is in Unix seconds, unknown values are None or empty."""

    at: float | None
    site: str
    action: str
    event: str
    is_failure: bool | None
    actor: str
    target_user: str
    content_type: str
    content: str


@dataclass(frozen=True)
class Choice:
    """The query parameters of the page; an empty text is no filter. ``names`` is whether users may be named."""

    names: bool
    q: str = ""
    site: str = ""
    action: str = ""

    @classmethod
    def of(cls, parameters: Parameters, *, names: bool) -> "Choice":
        """Parse the parameters of a page. Raises WrongParameter."""
        return cls(names, parameters.text("q"), parameters.text("site"), parameters.text("action"))

    def pairs(self) -> list[tuple[str, str]]:
        """Return the parameters that filter."""
        return [(name, value) for name in ("q", "site", "action") if (value := getattr(self, name))]


def listed(answer: HistoryAnswer, choice: Choice, page: int) -> Mapping[str, Any]:
    """Return the template values of the page. Raises WrongParameter."""
    rows = _chosen(answer, choice)
    paging, pairs = Paging(rows.num_rows, ROWS, page), choice.pairs()
    return {
        "choice": choice,
        "answer": answer,
        "rows": list(_rows(rows.slice(paging.begin, ROWS), answer, choice)),
        "paging": paging,
        "sites": sorted({site for site in answer.sites.values() if site}),
        "actions": sorted({text for text in answer.rows.column("action_type").unique().to_pylist() if text}),
        "csv": address(CSV_PATH, pairs, {}),
        "json": address(JSON_PATH, pairs, {}),
        "at_page": lambda number: address(PATH, pairs, {"page": str(number)} if number > 1 else {}),
    }


def file_rows(answer: HistoryAnswer, choice: Choice) -> Iterator[tuple[Cell, ...]]:
    """Yield the events that match, as cells of FILE_HEAD."""
    for row in _rows(_chosen(answer, choice), answer, choice):
        yield (
            at(row.at), row.site, row.action, row.event, row.is_failure, row.actor or None, row.target_user or None,
            row.content_type or None, row.content or None,
        )  # fmt: skip


def _chosen(answer: HistoryAnswer, choice: Choice) -> pa.Table:
    """Return the rows that match; of names only where they are displayed, or a search would disclose them."""
    rows = answer.rows
    if choice.site:
        ids = [number for number, site in answer.sites.items() if site == choice.site]
        rows = rows.filter(pc.is_in(rows.column("site_id"), pa.array(ids, pa.int64())))
    if choice.action:
        rows = rows.filter(pc.equal(rows.column("action_type"), choice.action))
    searched = ("event", *CONTENT, *(PERSONAL if choice.names else ()))
    for word in choice.q.lower().split():
        found = [
            pc.fill_null(pc.match_substring(pc.utf8_lower(rows.column(name)), word), fill_value=False)
            for name in searched
        ]
        matches = found[0]
        for other in found[1:]:
            matches = pc.or_(matches, other)
        rows = rows.filter(matches)
    return rows


def _rows(rows: pa.Table, answer: HistoryAnswer, choice: Choice) -> Iterator[Row]:
    for batch in rows.to_batches(max_chunksize=1000):
        instants = batch.column("created_at").cast(pa.int64()).to_pylist()
        for row, micros in zip(batch.drop_columns(["created_at"]).to_pylist(), instants, strict=True):
            kind = next((kind for kind in CONTENT if row[kind]), "")
            yield Row(
                micros / 1_000_000,
                answer.sites.get(row["site_id"], ""),
                row["action_type"] or "",
                row["event"] or "",
                row["is_failure"],
                (row["actor"] or "") if choice.names else "",
                (row["target_user"] or "") if choice.names else "",
                kind,
                row[kind] or "" if kind else "",
            )
