"""Failure modes of the simulated Tableau, as switches; each is described here and nowhere else.

A *kind* is the kind of a call: serverinfo, signin, switchsite, signout, sites, site, workbooks, datasources, flows,
projects, users, jobs, job (one by its id), tasks, flow_tasks, linked_tasks, flow_runs, schedules, views,
virtual_connections, metadata, upload, append, publish, vds_query, vds_metadata, systeminfo. ``{"*"}`` is every kind.

Quirks of every Tableau are no failures: see ``oddities``.
A *next* counts down with each call that it hit, so that the failure ends by itself.
"""

import threading
from dataclasses import dataclass, field, fields

# Kinds that the counting and the slow switches spare unless ``affected`` names it.
SIGNING = frozenset({"serverinfo", "signin", "signout", "switchsite", "login"})


@dataclass
class Switches:
    """What every server has; all are off at first, and ``reset`` turns all of them off again."""

    only_sites: set[str] = field(default_factory=set)
    """Content URLs: the switches of lists and calls affect these sites alone; empty: every site."""
    affected: set[str] = field(default_factory=set)
    """Kinds that the counting and the slow switches affect; empty: all but signing in and out and serverinfo."""

    throttle_next: int = 0
    """So many calls are answered 429."""
    retry_after: str | None = None
    """The Retry-After of a 429 and of a failure, as in the header; None: there is none."""
    fail_next: int = 0
    """So many calls are answered with ``fail_status`` and a page that is no XML."""
    fail_status: int = 503
    close_next: int = 0
    """So many calls get no answer: the connection is closed."""
    cut_next: int = 0
    """So many calls get half an answer, then the connection is closed."""
    slow_seconds: float = 0
    """The first byte of an answer comes so much later."""
    trickle_seconds: float = 0
    """Answers come byte by byte, so far apart, and then with blanks for ever; 0: they do not."""
    expire_next: int = 0
    """So many calls find their session ended (401); the session stays ended."""

    html_login_page: set[str] = field(default_factory=set)
    """Kinds that answer 200 with a well-formed HTML page with a login form."""
    garbage: set[str] = field(default_factory=set)
    """Kinds that answer 200 with bytes that are neither XML nor JSON."""
    nulls: set[str] = field(default_factory=set)
    """Kinds that answer 200 with the word null."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Turn everything off."""
        fresh = type(self)()
        for entry in fields(self):
            setattr(self, entry.name, getattr(fresh, entry.name))

    def reaches(self, site: str | None) -> bool:
        """Whether a site is among those that fail."""
        return not self.only_sites or site in self.only_sites

    def touches(self, kind: str, site: str | None) -> bool:
        """Return whether the counting and the slow switches affect a call."""
        chosen = kind in self.affected or "*" in self.affected if self.affected else kind not in SIGNING
        return chosen and self.reaches(site)

    def take(self, name: str) -> bool:
        """Count one call down; return whether it is affected."""
        with self._lock:
            left = int(getattr(self, name))
            if left:
                setattr(self, name, left - 1)
            return left > 0

    def hits(self, kinds: set[str], kind: str, site: str | None) -> bool:
        """Whether a set of kinds names a call of a kind on a site."""
        return (kind in kinds or "*" in kinds) and self.reaches(site)


@dataclass
class FailureModes(Switches):
    """The switches of the REST and Metadata APIs."""

    truncated: set[str] = field(default_factory=set)
    """Kinds whose XML or JSON stops in the middle, under the right Content-Length."""
    short_page: set[str] = field(default_factory=set)
    """Kinds whose pages lack their last item, which totalAvailable still counts."""
    no_total: set[str] = field(default_factory=set)
    """Kinds whose lists have no pagination element."""
    emptied: set[str] = field(default_factory=set)
    """Kinds whose lists are empty, with a totalAvailable of 0."""
    duplicated: set[str] = field(default_factory=set)
    """Kinds where something is added before what was read: later pages start with the last item of the one before."""
    skipped: set[str] = field(default_factory=set)
    """Kinds where something that was read is removed: later pages skip an item, and count one fewer."""
    forbidden: set[str] = field(default_factory=set)
    """Kinds that answer 403: the token's user is no administrator; systeminfo refuses with status 200."""
    missing: set[str] = field(default_factory=set)
    """Kinds that answer 404 with Tableau's error 404000, as a server too old for them; the Metadata API with JSON."""
    failing: set[str] = field(default_factory=set)
    """Kinds that answer 500 with a page of HTML."""
    bombs: set[str] = field(default_factory=set)
    """Kinds that answer 200 with a small gzip of tens of millions of empty elements; the Metadata API, of lists."""
    empty_element: set[str] = field(default_factory=set)
    """Kinds that answer 200 with the element of their list alone, empty and without a count: ``<users/>``, ``{}``."""
    wrong_count: set[str] = field(default_factory=set)
    """Kinds whose totalAvailable counts one entry more than there is, at every reading."""

    largest_body: int = 65 * 1024 * 1024
    """Requests with a larger body are answered 413 with a page of HTML, as proxies and Tableau's own gateway do."""

    sites_failing: set[str] = field(default_factory=set)
    """Content URLs whose every call (not the sign-in) answers 500."""
    tokens_expired: set[str] = field(default_factory=set)
    """Names of personal access tokens that can no longer sign in."""
    switching: str | None = None
    """``works``, ``refused``, or ``ignored``: answered, while the session stays on its site. None: Cloud refuses."""
    rival_every: int = 0
    """Another client signs in with the same token after every so many calls, which ends our session; 0: none does."""

    metadata: str = "on"
    """``missing`` answers 404, as a server that never had the API; ``disabled`` answers FEATURE_DISABLED."""
    metadata_partial: bool = False
    """Every third asset is missing, with ``errors`` beside the data."""
    metadata_node_limit: int = 20_000
    """Objects in one answer; the rest is missing, with ``errors``."""
    metadata_page_limit: int = 1_000
    """The largest ``first``: more than that is cut to it, and ``errors`` warn."""
    metadata_seconds: float = 0
    """How long each query takes."""
    metadata_throttle_next: int = 0
    """So many queries are answered 200 with ``data`` null and the error RATE_EXCEEDED."""
    metadata_time_limit: int = 0
    """A page of more nodes than this has half of its nodes, and an error without code or extensions; 0: no limit."""
    metadata_backfill: str = ""
    """Embedded data sources are ``empty`` ([]), ``null`` or ``null_items`` ([null]) beside BACKFILL_RUNNING."""
    metadata_nameless: bool = False
    """Data sources above a workbook have neither LUID nor name."""
    metadata_shifting: bool = False
    """An asset is on no page when more than one page is requested, unless the query names an order."""
    metadata_permissions: bool = False
    """The error PERMISSIONS_MODE_SWITCHED comes beside complete data."""
    metadata_old: bool = False
    """The schema has no virtual connections, as before 2022.1: a query that names them is refused."""
    metadata_nulls: bool = False
    """Every field that the schema lets be null is null in every third asset, and below it."""

    vds: str = "on"
    """``missing`` answers 404950 to VizQL Data Service, ``disabled`` 403157, ``no_access`` 403800."""
    vds_fail_next: int = 0
    """So many of its calls are answered with the error ``vds_fail_code``."""
    vds_fail_code: str = "500810"
    vds_seconds: float = 0
    """How long each of its calls takes; another one meanwhile is answered 401002."""
    vds_queries_an_hour: int = 100
    """Its calls of an hour; the next one is answered 429000."""
    vds_largest_answer: int = 1_000_000
    """The rows that one of its answers may have; more are answered 400804."""
    vds_captions: dict[str, str] = field(default_factory=dict)
    """Captions that have become others, by the ones that are documented."""
    vds_without: set[str] = field(default_factory=set)
    """Captions that its sources do not have."""
    vds_empty: set[str] = field(default_factory=set)
    """Names of sources of Admin Insights that have a single row of nulls."""
    insights_absent: bool = False
    """No site has the project Admin Insights: no administrator has opened it yet."""
    insights_generation: int = 0
    """Which provisioning of Admin Insights it is: the LUIDs of its sources change with it."""

    systeminfo_unknown: bool = False
    """systeminfo.xml lists a process of an unknown name with an unknown status, and one without a status."""
    systeminfo_doubled: bool = False
    """systeminfo.xml lists a process twice on its node and port, the second time as down."""

    updated_at_lies: bool = False
    """Every updatedAt is now, however old the extract is."""
    fractional_dates: bool = False
    """Instants come with milliseconds, which tableauserverclient reads as None."""
    serverinfo_missing: bool = False
    """serverinfo answers 404, as a proxy that lets only some paths through."""

    def of_lists(self) -> tuple[set[str], ...]:
        """Return the switches that change a list."""
        moved = self.duplicated, self.skipped
        return self.short_page, self.no_total, self.emptied, self.empty_element, self.wrong_count, *moved

    def of_metadata(self) -> tuple[object, ...]:
        """Return the switches that change an answer of the Metadata API."""
        return tuple(getattr(self, entry.name) for entry in fields(self) if entry.name.startswith("metadata"))
