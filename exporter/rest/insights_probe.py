"""The probe of `check` for Admin Insights: its data sources, their fields and one small query, on each site."""

from collections.abc import Iterator
from datetime import date

from exporter.collectors.admin_insights import EVENTS, SOURCES, InsightsSource
from exporter.errors import SourceError
from exporter.rest.credentials import label
from exporter.rest.insights import ABSENT, EMPTY, InsightsReader, datasources_of
from exporter.rest.lists import CONTENT, collect
from exporter.rest.probe import ProbeResult
from exporter.rest.session import RestSession
from exporter.rest.sites import Sites
from exporter.rest.vizql_data import QueryBudget, VizqlData


def probe(session: RestSession, sites: Sites, budget: QueryBudget, today: date) -> Iterator[ProbeResult]:
    """Try what a poll reads of each site that may be read. Raises SourceError where sites cannot be listed."""
    found = sites.find()
    for site in found.names:
        if site not in found.refused:
            yield from _site(session, site, budget, today)


def _site(session: RestSession, site: str, budget: QueryBudget, today: date) -> Iterator[ProbeResult]:
    try:
        session.enter(site)
        name = label(session.site)
        datasources = datasources_of(collect(session, CONTENT["datasource"]).rows)
        if not datasources:
            yield False, f"site {name}: {ABSENT}, and gives the token's user the right to see its data sources"
            return
        reader = InsightsReader(VizqlData(session, budget), datasources, {})
        published = reader.published(EVENTS, today)
        missing = [text for source in SOURCES if (text := _missing(reader, source))]
    except SourceError as error:
        yield False, f"site {site}: Admin Insights: {error}"
        return
    if published is None:
        yield None, f"site {name}: {EMPTY}"
    else:
        yield True, f"site {name}: Admin Insights answers, TS Events was refreshed at {published:%Y-%m-%d %H:%M} UTC"
    if missing:
        yield None, f"site {name}: Admin Insights works without {'; without '.join(missing)}"


def _missing(reader: InsightsReader, source: InsightsSource) -> str | None:
    """Return which fields of a source are missing; None where it has all. Raises SourceError."""
    missing = reader.missing(source)
    if missing is None:
        return f"{source.name} (no such data source: check what the token's user may see)"
    if not missing:
        return None
    fields = ", ".join(source.captions[name] for name in sorted(missing))
    whole = "" if source.required.isdisjoint(missing) else ", so nothing of it can be read"
    return f"fields of {source.name} ({fields}{whole})"
