"""The facts of each site, in the terms of the REST and Metadata APIs. Instants are naive UTC."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple


class Person(NamedTuple):
    """A user of a site."""

    luid: str
    name: str
    full_name: str
    email: str
    role: str
    domain: str
    login_at: datetime | None


class Project(NamedTuple):
    """A project; ``parent`` is the LUID of the project above."""

    luid: str
    name: str
    description: str
    parent: str | None
    owner: str
    created_at: datetime
    updated_at: datetime


class Source(NamedTuple):
    """The extract of a data source in the Metadata API; of an embedded one, also which published one it reads."""

    has_extracts: bool
    refreshed_at: datetime | None = None
    incremented_at: datetime | None = None
    made_at: datetime | None = None
    name: str = ""
    published: str | None = None


class Content(NamedTuple):
    """A workbook, a published data source or a flow.

    ``project`` is None in a Personal Space (``personal``), and where the user may not see it; so is ``owner``.
    ``created_at`` is None where Tableau writes a date that does not exist. ``sources`` are a workbook's embedded data
    sources, or the published data source itself; ``virtual`` are the virtual connections that it uses. ``url_id`` is
    the number of its page; None where that is made of its LUID.
    """

    kind: str
    luid: str
    name: str
    url: str
    project: str | None
    project_name: str | None
    owner: str | None
    tags: tuple[str, ...]
    created_at: datetime | None
    updated_at: datetime
    published_at: datetime
    has_extracts: bool
    size: int
    sources: tuple[Source, ...]
    type: str = ""
    personal: bool = False
    virtual: tuple[str, ...] = ()
    url_id: int | None = None


class View(NamedTuple):
    """A view of a workbook; ``url`` is its repository URL, ``total`` how often it was requested."""

    luid: str
    name: str
    url: str
    workbook: str
    created_at: datetime
    total: int


class Schedule(NamedTuple):
    """When tasks run; ``frequency`` is Hourly, Daily or Weekly, ``start`` the time of day, ``weekdays`` by name."""

    luid: str
    name: str
    state: str
    frequency: str
    start: str
    every_minutes: int | None
    weekdays: tuple[str, ...]
    next_run_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Task(NamedTuple):
    """A scheduled refresh of a workbook or a data source, the scheduled run of a flow, or the acceleration of views.

    ``kind`` and ``asset`` are None where the task is of nothing; ``ran_at`` is set for accelerations only.
    """

    luid: str
    type: str
    kind: str | None
    asset: str | None
    asset_name: str
    priority: int
    failures: int
    schedule: Schedule | None
    ran_at: datetime | None = None


class LinkedTask(NamedTuple):
    """Tasks that run one after another on one schedule; here a single step, the run of a flow."""

    luid: str
    step: str
    run: str
    flow: str
    flow_name: str
    schedule: Schedule


class VirtualConnection(NamedTuple):
    """A virtual connection; ``tables`` are (name, when its extract was refreshed; None: it has none)."""

    luid: str
    name: str
    created_at: datetime
    updated_at: datetime
    tables: tuple[tuple[str, datetime | None], ...]


class Job(NamedTuple):
    """A job of the backgrounder; ``kind`` and ``asset`` are only sent for a request by its id."""

    luid: str
    type: str
    status: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    priority: int
    progress: int
    title: str
    subtitle: str
    notes: str | None
    kind: str | None = None
    asset: str | None = None
    run: str | None = None


class FlowRun(NamedTuple):
    """One run of a flow."""

    luid: str
    flow: str
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    progress: int
    job: str


class Subscription(NamedTuple):
    """A view or a workbook that is mailed to a user."""

    luid: str
    subject: str
    content_type: str
    content: str
    user: str
    suspended: bool


class Site(NamedTuple):
    """All facts of one site; ``url`` is its content URL, empty for the Default site."""

    luid: str
    name: str
    url: str
    users: Sequence[Person] = ()
    projects: Sequence[Project] = ()
    workbooks: Sequence[Content] = ()
    datasources: Sequence[Content] = ()
    flows: Sequence[Content] = ()
    tasks: Sequence[Task] = ()
    jobs: Sequence[Job] = ()
    flow_runs: Sequence[FlowRun] = ()
    schedules: Sequence[Schedule] = ()
    linked_tasks: Sequence[LinkedTask] = ()
    virtual_connections: Sequence[VirtualConnection] = ()
    views: Sequence[View] = ()
    subscriptions: Sequence[Subscription] = ()


Facts = tuple[Site, ...]
