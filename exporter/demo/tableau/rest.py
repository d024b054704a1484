"""What each call is answered, once it has come in whole: the REST API, and the Metadata API below the same session."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from exporter.demo.tableau import errors, lists, markup, metadata, xml_writer
from exporter.demo.tableau.calls import HTML, JSON, Answer, Call
from exporter.demo.tableau.cluster import REFUSAL, Cluster
from exporter.demo.tableau.errors import Refusal
from exporter.demo.tableau.facts import Facts, Site
from exporter.demo.tableau.failure_modes import FailureModes
from exporter.demo.tableau.http_responses import MISSING_PAGE
from exporter.demo.tableau.oddities import Oddities
from exporter.demo.tableau.publishing import Publishing
from exporter.demo.tableau.sessions import Session, Sessions
from exporter.demo.tableau.vizql_data_service import VdsError, VizqlDataService

# Pages that are kept, at most.
REMEMBERED = 2_000
VDS = frozenset({"vds", "vds_query", "vds_metadata"})


class About(NamedTuple):
    """The versions of the server."""

    product_version: str
    api_version: str
    cloud: bool


class Rest:
    """Answers calls from facts; a page that did not change is rendered once."""

    def __init__(
        self,
        about: About,
        facts: Callable[[], Facts],
        sessions: Sessions,
        failure_modes: FailureModes,
        oddities: Callable[[], Oddities] = Oddities,
        vds: VizqlDataService | None = None,
        cluster: Callable[[], Cluster] = Cluster,
    ) -> None:
        self.about = about
        self._facts = facts
        self._oddities = oddities
        self._sessions = sessions
        self.publishing = Publishing()
        self._failure_modes = failure_modes
        self.vds = vds
        self._cluster = cluster
        self._rendered: tuple[dict[object, bytes], Facts | None] = {}, None

    def site_of(self, call: Call) -> str | None:
        """Name the content URL of the site that a call is about, as far as its session is known."""
        try:
            return self._sessions.find(call.token).site if call.token else None
        except Refusal:
            return None

    def answer(self, call: Call) -> Answer:
        """Answer a call."""
        try:
            return self._answer(call)
        except VdsError as error:
            return error.answer
        except Refusal as refusal:
            return VdsError(refusal.code).answer if call.kind in VDS else Answer(refusal.status, refusal.body)

    def _answer(self, call: Call) -> Answer:
        if call.version and _number(call.version) > _number(self.about.api_version):
            raise errors.unknown_version(call.version)
        if call.kind == "serverinfo":
            return self._about()
        if call.kind == "systeminfo":
            return self._system_info(call)
        facts = self._facts()
        if call.kind == "signin":
            return Answer(200, self._sessions.sign_in(call.body, facts)[1])
        session = self._sessions.find(call.token)
        if call.kind == "switchsite":
            return Answer(200, self._sessions.switch(session, call.body, facts)[1])
        if call.kind == "signout":
            self._sessions.end(session)
            return Answer(204, b"")
        return self._told(call, session, facts)

    def _told(self, call: Call, session: Session, facts: Facts) -> Answer:
        if not call.kind:
            raise errors.not_found("What was asked for")
        if self._failure_modes.hits(self._failure_modes.forbidden, call.kind, session.site):
            raise errors.forbidden(f"see {call.kind}")
        if call.kind != "metadata" and self._failure_modes.hits(self._failure_modes.missing, call.kind, session.site):
            raise errors.not_found(f"The resource '{call.kind}'")
        self._sessions.admit(session, call.kind)
        if call.kind == "sites" and self.about.cloud:
            raise errors.unsupported_on_cloud("Sites query")
        if call.kind in {"sites", "site"}:
            return Answer(200, self._sites(call, session, facts))
        site = next(site for site in facts if site.url == session.site)
        if call.site is not None and call.site != site.luid:
            raise errors.forbidden("see another site than the one signed in to")
        return self._of_site(call, session, site, facts)

    def _of_site(self, call: Call, session: Session, site: Site, facts: Facts) -> Answer:
        if call.kind in {"upload", "append", "publish"}:
            return self.publishing.answer(call, session, site)
        if call.kind in VDS:
            if self.vds is None:
                raise VdsError("404950")
            return self.vds.answer(call, session, site)
        if call.kind == "metadata":
            return self._metadata(call, site, facts)
        if call.kind == "schedules" and self.about.cloud:
            raise errors.not_found("Schedules")
        return Answer(200, self._cached(call, site, facts))

    def _about(self) -> Answer:
        version = self.about.product_version
        inside = (
            xml_writer.element("productVersion", {"build": f"{version.replace('.', '')}.26.0101.0000"}, version),
            xml_writer.element("restApiVersion", {}, self.about.api_version),
        )
        return Answer(200, xml_writer.document(xml_writer.element("serverInfo", {}, *inside)))

    def _system_info(self, call: Call) -> Answer:
        """Answer with the processes of the cluster; refusals have status 200 too."""
        failure_modes = self._failure_modes
        if self.about.cloud or failure_modes.hits(failure_modes.missing, call.kind, None):
            return Answer(404, MISSING_PAGE, HTML)
        try:
            session = self._sessions.find(call.token)
            self._sessions.admit(session, call.kind)
        except Refusal:
            return Answer(200, REFUSAL)
        if failure_modes.hits(failure_modes.forbidden, call.kind, session.site):
            return Answer(200, REFUSAL)
        unknown, doubled = failure_modes.systeminfo_unknown, failure_modes.systeminfo_doubled
        return Answer(200, self._cluster().document(unknown=unknown, doubled=doubled))

    def _style(self) -> markup.Style:
        now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        fresh = now if self._failure_modes.updated_at_lies else None
        return markup.Style(self.about.cloud, self._failure_modes.fractional_dates, fresh, self._oddities())

    def _sites(self, call: Call, session: Session, facts: Facts) -> bytes:
        style = self._style()
        seen = [site for site in facts if self._sessions.sees(session.name, site.url)]
        if call.kind == "site":
            attribute = {"contentUrl": "url", "name": "name"}.get(call.query.get("key", ""), "luid")
            found = next((site for site in seen if getattr(site, attribute) == call.id), None)
            if found is None:
                raise errors.not_found("The site")
            return xml_writer.document(style.site(found))
        listing = lists.Listing("sites", lambda _: seen, markup.Style.site, {"name": "name", "contentUrl": "url"})
        return self._list(call, listing, seen[0], style, session.site) if seen else xml_writer.document("<sites/>")

    def _cached(self, call: Call, site: Site, facts: Facts) -> bytes:
        style, failure_modes = self._style(), self._failure_modes
        hit = [failure_modes.hits(named, call.kind, site.url) for named in failure_modes.of_lists()]
        key = (call.kind, call.id, site.luid, style, *sorted(call.query.items()), *hit)
        return self._once(facts, key, lambda: self._render(call, site, style))

    def _once(self, facts: Facts, key: object, render: Callable[[], bytes]) -> bytes:
        """Render what was not rendered yet; when the facts change, or it gets too much, begin anew."""
        rendered, rendered_facts = self._rendered
        if rendered_facts is not facts or len(rendered) > REMEMBERED:
            self._rendered = rendered, _ = {}, facts
        if key not in rendered:
            rendered[key] = render()
        return rendered[key]

    def _render(self, call: Call, site: Site, style: markup.Style) -> bytes:
        listing = lists.LISTINGS["jobs" if call.kind == "job" else call.kind]
        if call.id is None:
            return self._list(call, listing, site, style, site.url)
        found = next((item for item in listing.items(site) if item.luid == call.id), None)
        if found is None:
            raise errors.not_found(f"The {call.kind.removesuffix('s')}")
        write = lists.SINGLE.get(call.kind, listing.write)
        return xml_writer.document(write(style, found))

    def _list(self, call: Call, listing: lists.Listing, site: Site, style: markup.Style, url: str) -> bytes:
        failure_modes, oddities = self._failure_modes, style.oddities

        def hit(kinds: set[str]) -> bool:
            return failure_modes.hits(kinds, call.kind, url)

        items = lists.chosen(listing, listing.items(site), call.query)
        if hit(failure_modes.emptied):
            items = []
        if hit(failure_modes.empty_element):
            return xml_writer.document(xml_writer.element(listing.element, {}))
        pagination = ""
        if call.kind == "flow_runs" and oddities.flow_runs_without_pages:
            lists.Page.parse(call.query).alone()
        elif listing.paged:
            page = lists.Page.parse(call.query)
            shift = hit(failure_modes.skipped) - hit(failure_modes.duplicated)
            total = len(items) - (shift if page.number > 1 else 0)
            total += lists.excess(call.kind, oddities) + hit(failure_modes.wrong_count)
            items = page.cut(items, shift)
            attributes = {"pageNumber": page.number, "pageSize": page.size, "totalAvailable": total}
            pagination = "" if hit(failure_modes.no_total) else xml_writer.element("pagination", {**attributes})
        if hit(failure_modes.short_page):
            items = items[:-1]
        if call.kind == "users":
            style = replace(style, person_fields=lists.person_fields(call.query))
        style = replace(style, usage=call.query.get("includeUsageStatistics") == "true")
        items_xml = "".join([listing.write(style, item) for item in items])
        answer = xml_writer.document(pagination, xml_writer.element(listing.element, {}, items_xml))
        return xml_writer.prefixed(answer) if "fields" in call.query and oddities.prefixed else answer

    def _metadata(self, call: Call, site: Site, facts: Facts) -> Answer:
        failure_modes = self._failure_modes
        if not failure_modes.reaches(site.url):
            failure_modes = FailureModes()
        if failure_modes.metadata == "missing" or failure_modes.hits(failure_modes.missing, "metadata", site.url):
            return Answer(404, b'{"timestamp":"","status":404,"error":"Not Found"}', JSON)
        if failure_modes.metadata == "disabled":
            return Answer(200, metadata.disabled(), JSON)
        if failure_modes.take("metadata_throttle_next"):
            return Answer(200, metadata.throttled(), JSON)
        if failure_modes.hits(failure_modes.empty_element, "metadata", site.url):
            return Answer(200, b'{"data": {}}', JSON)
        if failure_modes.hits(failure_modes.emptied, "metadata", site.url):
            site = site._replace(workbooks=(), datasources=(), flows=(), virtual_connections=())
        key = (site.luid, call.body, len(site.workbooks), *failure_modes.of_metadata())
        return Answer(200, self._once(facts, key, lambda: metadata.answer(site, call.body, failure_modes)), JSON)


def _number(version: str) -> tuple[float, ...]:
    return (math.inf,) if version == "exp" else tuple(int(part) for part in version.split("."))
