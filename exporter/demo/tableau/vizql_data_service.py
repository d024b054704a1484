"""The simulated VizQL Data Service: metadata and queries of the Admin Insights of a site, within its limits."""

import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from exporter.demo.rows import Row
from exporter.demo.tableau.admin_insights import CAPTIONS, EPOCH, EVENTS, IDS_OF_A_DAY, UNIQUE, AdminInsights
from exporter.demo.tableau.calls import JSON, Answer, Call
from exporter.demo.tableau.facts import Site
from exporter.demo.tableau.failure_modes import FailureModes
from exporter.demo.tableau.sessions import Session

HOUR_SECONDS = 3600.0
DATE = re.compile(r"^\d{4}-\d\d-\d\d$")
ROW_LIMIT_SINCE = (2026, 1)
# The type of the values of each caption.
TYPES = {caption: kind for captions in CAPTIONS.values() for caption, kind in captions.items()}
MOST_DAYS = 100_000
OPTIONS = frozenset({"returnFormat", "debug", "disaggregate", "rowLimit"})
MESSAGES = {
    "400000": "The content of the request body is invalid.",
    "400802": "The request is not valid per the OpenAPI specification.",
    "400803": "The request is not valid per the validation rules.",
    "400804": "The response value exceeds the limit. Apply a filter in your request.",
    "401002": "The provided auth token is invalid.",
    "403157": "The feature is disabled.",
    "403800": "The user does not have API Access granted on the given data source.",
    "404934": "The requested field does not exist.",
    "404950": "The request endpoint does not exist.",
    "408000": "The request timed out.",
    "429000": "Too many requests in the allotted amount of time.",
    "500810": "The response of the query is empty.",
    "500811": "The response of the query has an error.",
    "500812": "The response of the query could not be read.",
    "503800": "The service is unavailable.",
    "503801": "The service is overloaded.",
    "504000": "The upstream service did not answer in time.",
}
STATES = {"missing": "404950", "disabled": "403157", "no_access": "403800"}
Predicate = Callable[[Any], bool]


class VdsError(Exception):
    """An answer that is an error, by its code, of which the first digits are the status."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.message = f"{MESSAGES.get(code, 'An error occurred.')} {detail}".strip()

    @property
    def answer(self) -> Answer:
        """The answer in JSON."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return _json(int(self.code[:3]), {"errorCode": self.code, "message": self.message, "datetime": at})


class Filter(NamedTuple):
    """A filter of a field: which values pass, and the days that it leaves, if it is of the ids or dates of events."""

    caption: str
    passes: Predicate
    first_day: datetime = datetime.min  # noqa: DTZ901 - naive, as all of these
    last_day: datetime = datetime.max  # noqa: DTZ901 - see above


class VizqlDataService:
    """Answers the calls of one session at a time; ``clock`` is in seconds, ``wait`` waits for some."""

    def __init__(
        self,
        insights: AdminInsights,
        failure_modes: FailureModes,
        clock: Callable[[], float],
        wait: Callable[[float], object],
        version: str,
    ) -> None:
        self._insights = insights
        self._failure_modes = failure_modes
        self._clock = clock
        self.wait = wait
        self._version = tuple(int(part) for part in version.split("."))
        self._busy = threading.Lock()
        self.queries: dict[str, deque[float]] = defaultdict(deque)
        """When each token's queries of the last hour were."""

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return self._busy.locked()

    def answer(self, call: Call, session: Session, site: Site) -> Answer:
        """Answer a call; a second one while another is under way is refused, as the real thing does."""
        if not self._busy.acquire(blocking=False):
            raise VdsError("401002")
        try:
            self.wait(self._failure_modes.vds_seconds)
            return self._answer(call, session, site)
        finally:
            self._busy.release()

    def _answer(self, call: Call, session: Session, site: Site) -> Answer:
        failure_modes = self._failure_modes
        if code := STATES.get(failure_modes.vds):
            raise VdsError(code)
        if call.kind not in {"vds_query", "vds_metadata"}:
            raise VdsError("404950")
        self._count(session.name)
        if failure_modes.take("vds_fail_next"):
            raise VdsError(failure_modes.vds_fail_code)
        request = _object(call.body)
        luid = _object_in(request, "datasource").get("datasourceLuid")
        source = self._insights.source_of(site, str(luid), failure_modes)
        if source is None or failure_modes.insights_absent:
            raise VdsError("403800")
        if call.kind == "vds_metadata":
            return _json(200, {"data": self._metadata(source), "extraData": {"parameters": []}})
        return _json(200, {"data": self._rows(site, source, request)})

    def _count(self, name: str) -> None:
        """Count a query; no more than so many are answered within an hour."""
        now, queries = self._clock(), self.queries[name]
        while queries and queries[0] <= now - HOUR_SECONDS:
            queries.popleft()
        if len(queries) >= self._failure_modes.vds_queries_an_hour:
            raise VdsError("429000")
        queries.append(now)

    def _captions(self, source: str) -> dict[str, str]:
        """Return the captions of today, with the ones that they are known by here."""
        failure_modes = self._failure_modes
        return {
            failure_modes.vds_captions.get(name, name): name
            for name in CAPTIONS[source]
            if name not in failure_modes.vds_without
        }

    def _metadata(self, source: str) -> list[dict[str, str]]:
        return [
            {
                "fieldName": caption,
                "fieldCaption": caption,
                "dataType": CAPTIONS[source][name],
                "defaultAggregation": "NONE" if CAPTIONS[source][name] == "STRING" else "COUNT",
                "logicalTableId": source.replace(" ", "_"),
                "columnClass": "COLUMN",
            }
            for caption, name in self._captions(source).items()
        ]

    def _rows(self, site: Site, source: str, request: Mapping[str, object]) -> list[object]:
        options = _object_in(request, "options", required=False)
        self._check_options(options)
        query = _object_in(request, "query")
        captions = self._captions(source)
        wanted = [_caption(field, captions) for field in _list(query.get("fields"), required=True)]
        filters = [_filter(entry, captions) for entry in _list(query.get("filters"))]
        if len({entry.caption for entry in filters}) < len(filters):
            raise VdsError("400803", "A field can have one filter only.")
        rows = self._chosen(site, source, filters)
        found = self._answered(rows, [captions[caption] for caption in wanted], source, options)
        if len(found) > self._failure_modes.vds_largest_answer:
            raise VdsError("400804")
        if options.get("returnFormat") == "ARRAYS":
            return [list(values) for values in found]
        return [dict(zip(wanted, values, strict=True)) for values in found]

    def _check_options(self, options: Mapping[str, object]) -> None:
        unknown = options.keys() - OPTIONS
        if unknown or ("rowLimit" in options and self._version < ROW_LIMIT_SINCE):
            raise VdsError("400802", f"Unrecognized options: {', '.join(sorted(unknown)) or 'rowLimit'}")

    def _chosen(self, site: Site, source: str, filters: Sequence[Filter]) -> Iterable[Row]:
        """Yield the rows that pass all filters; a source that was never filled has a single row of nulls."""
        if source in self._failure_modes.vds_empty:
            return [{}]
        days = [entry for entry in filters if source == EVENTS]
        first_day = max((entry.first_day for entry in days), default=datetime.min)  # noqa: DTZ901 - see above
        last_day = min((entry.last_day for entry in days), default=datetime.max)  # noqa: DTZ901 - see above
        rows = self._insights.rows(site, source, first_day, last_day)
        return (row for row in rows if all(entry.passes(row.get(entry.caption)) for entry in filters))

    def _answered(
        self, rows: Iterable[Row], names: Sequence[str], source: str, options: Mapping[str, object]
    ) -> list[tuple[object, ...]]:
        """Return values in the order of the fields: grouped, unless a unique field is among them."""
        found = [tuple(row.get(name) for name in names) for row in rows]
        if UNIQUE[source] not in names and not options.get("disaggregate"):
            found = [*dict.fromkeys(found)]
        limit = options.get("rowLimit")
        return found[:limit] if isinstance(limit, int) else found


def _caption(field: object, captions: Mapping[str, str]) -> str:
    """Return the caption of a field; functions and calculations are not simulated."""
    if not isinstance(field, dict) or set(field) - {"fieldCaption", "fieldAlias", "sortDirection", "sortPriority"}:
        raise VdsError("400803", "The field is not valid.")
    caption = str(field.get("fieldCaption"))
    if caption not in captions:
        raise VdsError("404934", caption)
    return caption


def _filter(entry: object, captions: Mapping[str, str]) -> Filter:
    if not isinstance(entry, dict):
        raise VdsError("400802")
    name = captions[_caption(entry.get("field"), captions)]
    kind = entry.get("filterType")
    if kind == "QUANTITATIVE_NUMERICAL":
        return _numerical(name, entry)
    if kind == "QUANTITATIVE_DATE":
        return _dated(name, entry)
    if kind == "SET":
        values, exclude = _list(entry.get("values"), required=True), bool(entry.get("exclude"))
        return Filter(name, lambda value: (value in values) != exclude)
    raise VdsError("400803", f"The filter {kind} is not valid.")


def _numerical(name: str, entry: Mapping[str, Any]) -> Filter:
    low, high = _bounds(entry, "min", "max")
    if not all(bound is None or isinstance(bound, int | float) for bound in (low, high)):
        raise VdsError("400802")
    if TYPES[name] not in {"INTEGER", "REAL"}:
        raise VdsError("400803", f"{name} is no number.")
    passes = _between(low, high)
    if name != UNIQUE[EVENTS]:
        return Filter(name, passes)
    return Filter(name, passes, _day(low, datetime.min), _day(high, datetime.max))  # noqa: DTZ901 - see above


def _day(number: float | None, otherwise: datetime) -> datetime:
    """Return the day of the event that has a number."""
    if number is None:
        return otherwise
    return EPOCH + timedelta(days=min(max(int(number) // IDS_OF_A_DAY, 0), MOST_DAYS))


def _dated(name: str, entry: Mapping[str, Any]) -> Filter:
    low, high = _bounds(entry, "minDate", "maxDate")
    if TYPES[name] != "DATETIME" or not all(bound is None or DATE.match(str(bound)) for bound in (low, high)):
        raise VdsError("400803", "A date has no time.")
    between = _between(low, high)
    first = datetime.fromisoformat(low) if low else datetime.min  # noqa: DTZ901 - see above
    last = datetime.fromisoformat(high) if high else datetime.max  # noqa: DTZ901 - see above
    chosen = (first, last) if name == "Event Date" else (datetime.min, datetime.max)  # noqa: DTZ901 - see above
    return Filter(name, lambda value: between(str(value)[:10] if value else None), *chosen)


def _bounds(entry: Mapping[str, Any], low: str, high: str) -> tuple[Any, Any]:
    kind = entry.get("quantitativeFilterType")
    wanted = {"MIN": (low,), "MAX": (high,), "RANGE": (low, high)}.get(str(kind))
    if wanted is None or not all(name in entry for name in wanted):
        raise VdsError("400802")
    return entry[low] if low in wanted else None, entry[high] if high in wanted else None


def _between(low: Any, high: Any) -> Predicate:  # noqa: ANN401 - numbers or dates
    return lambda value: value is not None and (low is None or value >= low) and (high is None or value <= high)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise VdsError("400000")
    return found


def _object_in(request: Mapping[str, object], name: str, *, required: bool = True) -> Mapping[str, object]:
    found = request.get(name, None if required else {})
    if not isinstance(found, dict):
        raise VdsError("400802")
    return found


def _list(value: object, *, required: bool = False) -> list[Any]:
    if value is None and not required:
        return []
    if not isinstance(value, list):
        raise VdsError("400802")
    return value


def _json(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode(), JSON)
