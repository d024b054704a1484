"""An estate of any size, made by counting: for benchmarks, and for tests that must know what is right."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from exporter.demo.names import ODD
from exporter.demo.tableau.facts import Content, Facts, FlowRun, Job, Person, Project, Schedule, Site, Source, Task

USERS, PROJECTS, WORKBOOKS, DATASOURCES, TASKS, JOBS, SCHEDULES, SITES, FLOWS, RUNS = range(1, 11)
MEGABYTES = 512
# What a workbook lives on, by the last digit of its number: its own extract, published sources, both, or a database.
OWN, PUBLISHED, MIXED = frozenset(range(6)), frozenset({6, 7}), frozenset({8})


def large(
    workbooks: int,
    datasources: int,
    *,
    now: datetime,
    flows: int = 0,
    sites: int = 3,
    people: int = 50,
    jobs: int = 1_000,
) -> Facts:
    """Make so many of each, dealt to so many sites, as they are at ``now`` (naive UTC); ``people`` are on each site."""
    return tuple(
        _site(
            number,
            now,
            workbooks=range(number, workbooks, sites),
            datasources=range(number, datasources, sites),
            flows=range(number, flows, sites),
            jobs=range(number, jobs, sites),
            people=people,
        )
        for number in range(sites)
    )


def luid(kind: int, number: int) -> str:
    """Count a LUID."""
    return f"{kind:08x}-5a5a-4a5a-8a5a-{number:012x}"


def refreshed_at(kind: int, number: int, now: datetime) -> datetime:
    """Date the last refresh of an extract: up to four days ago, each by its number."""
    return now - timedelta(minutes=7 + (number * 7919 + kind * 104729) % 5760)


def _site(
    number: int, now: datetime, *, workbooks: range, datasources: range, flows: range, jobs: range, people: int
) -> Site:
    users = [_person(number * people + position, position) for position in range(people)]
    projects = _projects(number, users, now)
    sources = [_datasource(one, projects, users, now) for one in datasources]
    books = [_workbook(one, projects, users, sources, now) for one in workbooks]
    run = [_flow(one, projects, users, now) for one in flows]
    daily = Schedule(
        luid(SCHEDULES, 1), "Daily", "Active", "Daily", "05:00:00", None, (), now + timedelta(hours=3), now, now
    )
    scheduled = [item for item in (*sources, *books) if item.has_extracts]
    tasks = [
        Task(
            luid(TASKS, number * 10**6 + position), "RefreshExtractTask", item.kind, item.luid, item.name, 50, 0, daily
        )
        for position, item in enumerate(scheduled[::3])
    ]
    return Site(
        luid=luid(SITES, number),
        name="Default" if number == 0 else f"Site {number}",
        url="" if number == 0 else f"site{number}",
        users=users,
        projects=projects,
        workbooks=books,
        datasources=sources,
        flows=run,
        tasks=tasks,
        jobs=[_job(one, scheduled[one % len(scheduled)], now) for one in jobs] if scheduled else [],
        flow_runs=[_run(one, now) for one in flows],
        schedules=[daily],
    )


def _person(number: int, position: int) -> Person:
    role = "SiteAdministratorCreator" if position == 0 else "Creator"
    name = f"person{position}"
    address = f"{name}@example.com"
    return Person(luid(USERS, number), name, f"Person {position}", address, role, "corp.example.com", None)


def _projects(site: int, users: Sequence[Person], now: datetime) -> list[Project]:
    made = now - timedelta(days=900)
    found = [Project(luid(PROJECTS, site * 100), "Default", "", None, users[0].luid, made, made)]
    for number in range(1, 30):
        # Every third one is a top, the others stand in the one before.
        parent = None if number % 3 == 0 else found[-1].luid
        key = luid(PROJECTS, site * 100 + number)
        found.append(Project(key, f"Project {number}", "", parent, users[number % len(users)].luid, made, made))
    return found


def _content(
    kind: str,
    key: int,
    number: int,
    projects: Sequence[Project],
    users: Sequence[Person],
    sources: tuple[Source, ...],
    now: datetime,
) -> Content:
    odd = number % 50 == 7
    name = f"{kind} {number} {ODD[number // 50 % len(ODD)]}" if odd else f"{kind.capitalize()} {number}"
    project = projects[number % len(projects)]
    made = now - timedelta(days=40 + number % 400)
    return Content(
        kind=kind,
        luid=luid(key, number),
        name=name,
        url=f"{kind}{number}",
        project=project.luid,
        project_name=project.name,
        owner=users[number % len(users)].luid,
        tags=("no-sla",) if number % 20 == 0 else ("finance", "certified") if number % 20 == 1 else (),
        created_at=made,
        updated_at=now - timedelta(minutes=number % 50),
        published_at=made,
        has_extracts=any(source.has_extracts for source in sources),
        size=number % MEGABYTES,
        sources=sources,
    )


def _datasource(number: int, projects: Sequence[Project], users: Sequence[Person], now: datetime) -> Content:
    made = now - timedelta(days=40 + number % 400)
    source = Source(has_extracts=False)
    if number % 10 == 8:
        source = Source(has_extracts=True, made_at=made)
    elif number % 10 != 9:
        at = refreshed_at(DATASOURCES, number, now)
        full, increment = (None, at) if number % 10 == 7 else (at, None)
        source = Source(has_extracts=True, refreshed_at=full, incremented_at=increment, made_at=made)
    return _content("datasource", DATASOURCES, number, projects, users, (source,), now)


def _workbook(
    number: int, projects: Sequence[Project], users: Sequence[Person], published: Sequence[Content], now: datetime
) -> Content:
    digit = number % 10
    sources: tuple[Source, ...] = ()
    if digit in OWN or digit in MIXED:
        at = refreshed_at(WORKBOOKS, number, now)
        sources = (Source(has_extracts=True, refreshed_at=at, made_at=at - timedelta(days=40), name="Extract"),)
    if (digit in PUBLISHED or digit in MIXED) and published:
        for step in range(1 + number % 2):
            used = published[(number + step) % len(published)]
            sources += (Source(has_extracts=False, name=used.name, published=used.luid),)
    return _content("workbook", WORKBOOKS, number, projects, users, sources or (Source(has_extracts=False),), now)


def _flow(number: int, projects: Sequence[Project], users: Sequence[Person], now: datetime) -> Content:
    return _content("flow", FLOWS, number, projects, users, (), now)


def _run(number: int, now: datetime) -> FlowRun:
    at = refreshed_at(FLOWS, number, now)
    began_at = at - timedelta(minutes=4)
    return FlowRun(luid(RUNS, number), luid(FLOWS, number), "Success", began_at, at, 100, luid(JOBS, 10**9 + number))


def _job(number: int, item: Content, now: datetime) -> Job:
    ended_at = max((source.refreshed_at or now for source in item.sources), default=now)
    return Job(
        luid=luid(JOBS, number),
        type="refresh_extracts",
        status="Success",
        created_at=ended_at - timedelta(minutes=3),
        started_at=ended_at - timedelta(minutes=2),
        ended_at=ended_at,
        priority=50,
        progress=100,
        title=item.name,
        subtitle=item.kind.capitalize(),
        notes=None,
        kind=item.kind,
        asset=item.luid,
    )
