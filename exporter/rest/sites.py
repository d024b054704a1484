"""The sites to read: those configured, or all that the token may see."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from exporter.errors import SourceError
from exporter.rest.arrow import to_luid
from exporter.rest.credentials import DEFAULT_SITE, label
from exporter.rest.lists import Listing, collect
from exporter.rest.response_xml import Entry, shape
from exporter.rest.session import RestSession
from exporter.rest.sign_in import SignInRefused


@dataclass(frozen=True)
class ListedSite:
    """A site as the list of sites has it."""

    site_id: str
    content_url: str | None
    state: str | None


def _site(entry: Entry) -> tuple[object, ...] | None:
    of = entry.attributes
    site_id = to_luid(of.get("id"))
    return (site_id, of.get("contentUrl", ""), of.get("state")) if site_id else None


_SITES = Listing("sites", shape("site"), ListedSite, _site, ())


@dataclass
class SiteList:
    """The sites of a poll, the errors of those that are refused, and notes on all of them."""

    names: Sequence[str]
    refused: dict[str, SourceError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def pop_notes(self) -> list[str]:
        """Return the notes, once."""
        notes, self.notes = self.notes, []
        return notes


class Sites:
    """The sites of one Tableau. Content URLs do not mind their case; labels have the one that Tableau has."""

    def __init__(self, session: RestSession, configured: tuple[str, ...]) -> None:
        self._session = session
        self._configured = configured
        self._actual: dict[str, str] = {}
        self._listed: tuple[str, ...] = ()

    def actual(self, site: str) -> str:
        """Return a site as Tableau writes it."""
        return self._actual.get(site, site)

    def learn(self, site: str, actual: str) -> None:
        """Remember how Tableau writes a site."""
        self._actual[site] = actual

    def find(self) -> SiteList:
        """Sign in unless signed in, and list the sites. Raises SourceError where no site admits us."""
        if self._configured:
            refused = self._admitted(self._configured)
            return SiteList(self._in_order(self._configured), refused)
        self._admitted(self._listed or (DEFAULT_SITE,))
        return self._seen()

    def _admitted(self, sites: Sequence[str]) -> dict[str, SourceError]:
        """Sign in at the first site that admits us; return the errors of those that did not."""
        refused: dict[str, SourceError] = {}
        if self._session.site is not None:
            return refused
        for site in sites:
            try:
                self._session.enter(site)
            except SignInRefused as error:
                refused[site] = error
            else:
                return refused
        raise next(iter(refused.values()))

    def _seen(self) -> SiteList:
        """List the sites. Where that fails, use the last list, or at least the token's own site."""
        own = label(self._session.site)
        try:
            listed = collect(self._session, _SITES)
        except SourceError as error:
            if self._session.transport.poll.lost:
                raise
            if self._listed:
                return SiteList(self._in_order(self._listed), notes=[f"sites as last listed: {error}"])
            return SiteList((own,), notes=[f"only the site {own} is read, sites may not be listed: {error}"])
        rows = listed.rows.to_pylist()
        if listed.missing or not rows:
            found = dict.fromkeys((*(label(row["content_url"]) for row in rows), *self._listed, own))
            return SiteList(self._in_order(tuple(found)), notes=[listed.missing or "the list of sites is empty"])
        closed = sorted(label(row["content_url"]) for row in rows if (row["state"] or "Active") != "Active")
        self._listed = tuple(label(row["content_url"]) for row in rows if (row["state"] or "Active") == "Active")
        notes = [f"not read, because not active: {', '.join(closed)}"] if closed else []
        return SiteList(self._in_order(self._listed) or (own,), notes=notes)

    def _in_order(self, sites: Sequence[str]) -> Sequence[str]:
        """Put the site that the session is on first, where each further one costs a sign-in: one fewer in each poll."""
        if self._session.switches:
            return sites
        own = label(self._session.site).casefold()
        return sorted(sites, key=lambda site: site.casefold() != own)
