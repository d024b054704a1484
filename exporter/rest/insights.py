"""Admin Insights of a site: its data sources queried by day, in halves where a day is too large for one answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from exporter.collector import Column, columns_of
from exporter.collectors.admin_insights import PUBLISHED_AT, InsightsSource
from exporter.errors import SourceIncomplete
from exporter.rest.arrow import parse_instant
from exporter.rest.errors import AnswerTooLarge
from exporter.rest.vizql_data import Row, VizqlData

# A number of JSON is exact up to here.
LARGEST_ID = 2**53
ONE_DAY = timedelta(days=1)
PROJECT = "Admin Insights"
EMPTY = "Admin Insights is empty: it is filled within a day after an administrator has opened it"
ABSENT = "no data sources of Admin Insights: an administrator opens it once"


def datasources_of(content: pa.Table) -> dict[str, str]:
    """Return the LUIDs of the data sources of Admin Insights by their names: rows of Content."""
    in_project = pc.fill_null(pc.equal(content.column("project_name"), PROJECT), fill_value=False)
    rows = content.filter(pc.and_(pc.equal(content.column("asset_type"), "datasource"), in_project))
    return dict(zip(rows.column("asset_name").to_pylist(), rows.column("asset_id").to_pylist(), strict=True))


@dataclass(frozen=True)
class Span:
    """Days, the last one included, and the ids within them."""

    first: date
    last: date
    low: int = 0
    high: int = LARGEST_ID

    def halves(self, *, by_id: bool) -> "tuple[Span, Span] | None":
        """Return both halves, of the days or of the ids of a single one; None where nothing can be halved.

        Ids may be anywhere: a range of many sizes is halved by size.
        """
        if self.last > self.first:
            day = self.first + (self.last - self.first) // 2
            return Span(self.first, day), Span(day + ONE_DAY, self.last)
        if not by_id or self.high <= self.low:
            return None
        middle = (self.low + self.high) // 2
        if self.high > 2 * max(self.low, 1):
            middle = min(middle, max(self.low, int((max(self.low, 1) * self.high) ** 0.5)))
        return Span(self.first, self.last, self.low, middle), Span(self.first, self.last, middle + 1, self.high)


class InsightsReader:
    """Reads the data sources of one site; ``datasources`` are their LUIDs by name."""

    def __init__(self, service: VizqlData, datasources: Mapping[str, str], captions: dict[str, frozenset[str]]) -> None:
        """Build a reader; ``captions`` are those known by the LUID of each data source, and are added to."""
        self._service = service
        self._datasources = datasources
        self._captions = captions

    def read(self, source: InsightsSource, span: Span | None = None) -> pa.Table | None:
        """Return the rows of a source within a span of days; None where the site, or this release, does not have it.

        Raises SourceError where it cannot be read whole.
        """
        datasource = self._datasources.get(source.name)
        if datasource is None:
            return None
        known = self._captions_of(datasource)
        there = {field: caption for field, caption in source.captions.items() if caption in known}
        if not source.required <= there.keys():
            return None
        tables = [_table(source.row, there, rows) for rows in self._answers(datasource, source, there, span)]
        return pa.concat_tables(tables)

    def published(self, source: InsightsSource, today: date) -> datetime | None:
        """Return when a source was refreshed; None where it is empty: it is filled a day after it was opened first.

        Without that caption it is the beginning of the day. Raises SourceIncomplete where the site does not have it.
        """
        datasource, caption = self._datasources.get(source.name), source.captions[PUBLISHED_AT]
        if datasource is None:
            message = f"no data source {source.name}: check what the token's user may see"
            raise SourceIncomplete(message)
        if caption not in self._captions_of(datasource):
            return datetime.combine(today, time())
        # Without a unique field the rows are grouped: one is left.
        rows = self._service.query(datasource, [caption], [])
        return max(filter(None, (parse_instant(row.get(caption)) for row in rows)), default=None)

    def missing(self, source: InsightsSource) -> frozenset[str] | None:
        """Return the fields that a source lacks; None where the site does not have it. Raises SourceError."""
        datasource = self._datasources.get(source.name)
        if datasource is None:
            return None
        known = self._captions_of(datasource)
        return frozenset(field for field, caption in source.captions.items() if caption not in known)

    def _captions_of(self, datasource: str) -> frozenset[str]:
        if datasource not in self._captions:
            self._captions[datasource] = self._service.captions(datasource)
        return self._captions[datasource]

    def _answers(
        self, datasource: str, source: InsightsSource, there: Mapping[str, str], span: Span | None
    ) -> Iterator[Sequence[Row]]:
        try:
            yield self._service.query(datasource, list(there.values()), _filters(source, span))
        except AnswerTooLarge:
            halves = span.halves(by_id=source.numbered) if span else None
            if halves is None:
                raise
            for half in halves:
                yield from self._answers(datasource, source, there, half)


def _filters(source: InsightsSource, span: Span | None) -> list[Row]:
    if span is None or source.dated is None:
        return []
    filters: list[Row] = [
        {
            "field": {"fieldCaption": source.captions[source.dated]},
            "filterType": "QUANTITATIVE_DATE",
            "quantitativeFilterType": "RANGE",
            "minDate": span.first.isoformat(),
            "maxDate": span.last.isoformat(),
        }
    ]
    if (span.low, span.high) != (0, LARGEST_ID):
        filters.append(
            {
                "field": {"fieldCaption": source.captions[source.unique]},
                "filterType": "QUANTITATIVE_NUMERICAL",
                "quantitativeFilterType": "RANGE",
                "min": span.low,
                "max": span.high,
            }
        )
    return filters


def _table(row: type, there: Mapping[str, str], rows: Sequence[Row]) -> pa.Table:
    """Return the rows as columns of a row dataclass; a value of another type than expected is NULL."""
    columns = columns_of(row)
    values = [[_value(column, one.get(there.get(column.name, ""))) for one in rows] for column in columns]
    schema = pa.schema([(column.name, column.type.arrow) for column in columns])
    return pa.table([pa.array(value, kind) for value, kind in zip(values, schema.types, strict=True)], schema=schema)


def _value(column: Column, value: object) -> object:
    kind = column.type.duckdb
    if kind == "TIMESTAMP":
        return parse_instant(value)
    if kind == "BIGINT":
        return _number(value)
    return None if value is None else str(value)


def _number(value: object) -> int | None:
    """Return an integer that may have come as another kind of number, or as text."""
    try:
        number = int(float(value)) if isinstance(value, float) else int(str(value))
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 2**63 else None
