"""What Tableau's REST API reports: a site, with the Metadata API, as columns, and the processes of a cluster.

It is read by rest and used by the collectors.

An ``asset_id`` is a LUID, an ``asset_type`` is workbook, datasource or flow, instants are UTC without a zone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

TAG_SEPARATOR = "\x1f"
"""Separator of the tags of an asset, or of the sources that it uses: a control character."""


@dataclass(frozen=True)
class Content:
    """A workbook, a published data source or a flow as the lists of the REST API have it.

    ``has_extracts`` is known of data sources; ``project_name`` is used where the project itself is not
    listed. ``created_at`` and ``updated_at`` are changes of anything, not refreshes. ``url_id`` is the number in the
    address of its page, ``content_url`` its name in the addresses of its views.
    """

    asset_type: str
    asset_id: str
    asset_name: str | None
    project_id: str | None
    project_name: str | None
    owner_id: str | None
    tags: str | None
    has_extracts: bool | None
    created_at: datetime | None
    updated_at: datetime | None
    url_id: int | None
    content_url: str | None
    megabytes: int | None


@dataclass(frozen=True)
class Project:
    """A project; the full path of one is made of its parents' names."""

    project_id: str
    name: str | None
    parent_id: str | None


@dataclass(frozen=True)
class Person:
    """A user of the site; ``name`` is the login name, ``full_name`` the displayed one."""

    owner_id: str
    name: str | None
    site_role: str | None
    full_name: str | None
    email: str | None


@dataclass(frozen=True)
class ListedSubscription:
    """A subscription; ``suspended`` is None where the API does not report it."""

    subscription_id: str
    suspended: bool | None


@dataclass(frozen=True)
class Described:
    """A data source, or a table of a virtual connection, that an asset reads, as the Metadata API describes it.

    For a published data source it is the source itself. An asset has at least one row; one without any data source has
    a row without extracts. ``refreshed_at`` is the later of the full and the incremental refresh, ``made_at`` the last
    update of the extract, its creation included. ``source_id`` is the published data source that a workbook uses, whose
    own rows have the rest; None for the asset's own. ``whole`` is false where errors stood beside the answer or
    a list was no list: what is there is true, what is missing means nothing.
    """

    asset_type: str
    asset_id: str
    has_extracts: bool | None
    refreshed_at: datetime | None
    made_at: datetime | None
    source_id: str | None
    whole: bool


@dataclass(frozen=True)
class Refresh:
    """A refresh job, or a flow's run, that ended with success; ``job_id`` is Tableau's."""

    job_id: str
    asset_type: str
    asset_id: str
    completed_at: datetime


REFRESHES = pa.schema(
    {"job_id": pa.string(), "asset_type": pa.string(), "asset_id": pa.string(), "completed_at": pa.timestamp("us")}
)
"""Rows of Refresh as Arrow has them."""


@dataclass(frozen=True)
class Task:
    """A scheduled refresh. ``suspended`` is None where the API does not report it."""

    asset_type: str
    asset_id: str
    next_run_at: datetime | None
    last_run_at: datetime | None
    consecutive_failures: int | None
    suspended: bool | None


@dataclass(frozen=True)
class ListedJob:
    """A background job of the list of jobs; ``finish_code`` is the repository's, None for a result that is not known.

    A job that waits has no ``started_at``, one that runs no ``completed_at``.
    """

    job_id: str
    job_type: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    finish_code: int | None
    priority: int | None
    title: str | None
    subtitle: str | None


@dataclass(frozen=True)
class ViewTotal:
    """A view with the number of its requests since it was published; ``workbook`` and ``view`` are of its URL."""

    view_id: str
    workbook: str
    view: str
    total: int


@dataclass(frozen=True)
class AssetFreshness:
    """Extracts of an asset, and the published data sources it uses, from this poll or earlier ones.

    ``extracts`` is the number of its own extracts, None where no source has described the asset whole yet; ``has_live``
    is whether it also reads live data, None where it was not even described in part. ``refreshed_at`` is the last
    successful refresh of the stalest own extract (of a flow its last successful run), ``refreshed_by`` metadata, job or
    partial: the Metadata API left something out, so the asset may be staler. ``made_at`` is when an extract was made
    that was never refreshed. ``uses`` are LUIDs of published data sources, in order, separated by TAG_SEPARATOR.
    """

    asset_type: str
    asset_id: str
    extracts: int | None
    has_live: bool | None
    uses: str | None
    refreshed_at: datetime | None
    refreshed_by: str | None
    made_at: datetime | None


FRESHNESS = pa.schema(
    {
        "asset_type": pa.string(),
        "asset_id": pa.string(),
        "extracts": pa.int64(),
        "has_live": pa.bool_(),
        "uses": pa.string(),
        "refreshed_at": pa.timestamp("us"),
        "refreshed_by": pa.string(),
        "made_at": pa.timestamp("us"),
    }
)
"""Rows of AssetFreshness as Arrow has them."""


def remembered_of(remembered: Mapping[str, pa.Table], site: str, content: pa.Table) -> pa.Table:
    """Return the rows of AssetFreshness of a site, and those of its assets that another site had: LUIDs are unique.

    A site may have been renamed, and an asset may have moved.
    """
    own = remembered.get(site, FRESHNESS.empty_table())
    others = [rows for name, rows in remembered.items() if name != site]
    if not others:
        return own
    elsewhere = pa.concat_tables(others)
    wanted = pc.and_(
        pc.is_in(elsewhere.column("asset_id"), value_set=content.column("asset_id").combine_chunks()),
        pc.invert(pc.is_in(elsewhere.column("asset_id"), value_set=own.column("asset_id").combine_chunks())),
    )
    return pa.concat_tables([own, elsewhere.filter(wanted)])


SOURCES_OF_FRESHNESS = ("metadata", "job", "flow_run", "task")
"""The sources of refreshes beside the lists of assets: the Metadata API, refresh jobs, flow runs, scheduled tasks."""


@dataclass(frozen=True)
class Inventory:
    """One site: a table of each of the rows above; what could not be read is None.

    ``looked_up`` are the refreshes whose asset was fetched job by job just now, to be remembered. ``notes`` are what is
    missing and why, a line each; ``gaps`` are those of them that leave freshness unknown although its source is
    switched on. ``read_whole`` is, for each freshness source that the site needs, whether it was read completely.
    ``tasks_read`` are the types of assets whose ``tasks`` are of this poll, those of the others are of an earlier one.
    ``remembered`` are the rows of AssetFreshness of earlier polls, None where the history could not be read; ``known``
    are those of now, None before they have been made. ``asset_types`` are those listed in this poll, ``listed`` the
    supplementing lists (projects, users, subscriptions) as they were read in it, completely or twice the same.
    ``jobs``, ``view_count`` and ``view_totals`` are read where a collector uses them.
    """

    site: str
    content: pa.Table
    projects: pa.Table | None
    people: pa.Table | None
    described: pa.Table | None
    refreshes: pa.Table | None
    looked_up: pa.Table | None
    tasks: pa.Table | None
    notes: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    read_whole: Mapping[str, bool] = field(default_factory=dict)
    tasks_read: frozenset[str] = frozenset({"workbook", "datasource", "flow"})
    remembered: pa.Table | None = field(default_factory=FRESHNESS.empty_table)
    known: pa.Table | None = None
    site_luid: str = ""
    asset_types: frozenset[str] = frozenset({"workbook", "datasource", "flow"})
    listed: Mapping[str, pa.Table] = field(default_factory=dict)
    jobs: pa.Table | None = None
    view_count: int | None = None
    view_totals: pa.Table | None = None


@dataclass(frozen=True)
class ProcessState:
    """A process of a node; ``status`` is Tableau's own word, the numbers are transfers of a file store.

    ``port`` is empty where Tableau names none. What it does not report is None.
    """

    node: str
    process: str
    port: str
    status: str | None
    pending_transfers: int | None = None
    failed_transfers: int | None = None


@dataclass(frozen=True)
class SystemInfo:
    """The processes that ``systeminfo.xml`` lists, as often as it does.

    ``service`` is the status of the server as a whole, None if unknown.
    """

    processes: Sequence[ProcessState]
    service: str | None
