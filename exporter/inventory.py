"""What Tableau's REST and Metadata APIs say of one site, as columns: read by rest, judged by the collectors.

An ``asset_id`` is a LUID, an ``asset_type`` is workbook, datasource or flow, instants are UTC without a zone.
"""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

TAG_SEPARATOR = "\x1f"
"""What stands between the tags of an asset, or the sources that it uses: nobody types it."""


@dataclass(frozen=True)
class Content:
    """A workbook, a published data source or a flow as the lists of the REST API have it.

    ``has_extracts`` is what a data source's entry says of it; ``project_name`` helps where the project itself is not
    listed. ``created_at`` and ``updated_at`` are changes of anything, not refreshes.
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


@dataclass(frozen=True)
class Project:
    """A project; the full path of one is made of its parents' names."""

    project_id: str
    name: str | None
    parent_id: str | None


@dataclass(frozen=True)
class Person:
    """Somebody of the site; ``name`` is the login name, ``full_name`` the displayed one."""

    owner_id: str
    name: str | None
    site_role: str | None
    full_name: str | None
    email: str | None


@dataclass(frozen=True)
class Described:
    """A data source that an asset lives on, as the Metadata API knows it.

    For a published data source it is the source itself. There is at least one row for each asset that the Metadata API
    described; an asset without any data source has one without extracts. ``refreshed_at`` is the later of the full and
    the incremental refresh, ``made_at`` when the extract was made. ``source_id`` is the published data source that a
    workbook uses, None for a source of its own.
    """

    asset_type: str
    asset_id: str
    has_extracts: bool | None
    refreshed_at: datetime | None
    made_at: datetime | None
    source_id: str | None


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
    """A scheduled refresh. ``suspended`` is None where the API does not say."""

    asset_type: str
    asset_id: str
    next_run_at: datetime | None
    last_run_at: datetime | None
    consecutive_failures: int | None
    suspended: bool | None


@dataclass(frozen=True)
class Inventory:
    """One site: a table of each of the rows above. What could not be had is None; ``notes`` say why, a line each.

    ``looked_up`` are the refreshes whose asset was asked for job by job just now, to be remembered.
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
