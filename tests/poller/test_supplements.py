"""Only the lists of assets may fail a site: any other fault costs its own fields, and no asset."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from exporter.collectors.assets.status import judge
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.facts import Content, Facts, FlowRun, Job, Site
from exporter.demo.tableau.server import TableauServer
from exporter.inventory import SOURCES_OF_FRESHNESS
from tests.support.rest_poller_harness import RestPollerHarness, seconds
from tests.support.soak import LONG, times

NOW = datetime(2026, 7, 27, 10, tzinfo=UTC).replace(tzinfo=None)
SUPPLEMENTS = ("projects", "users", "metadata", "jobs", "job", "flow_runs", "tasks", "flow_tasks", "linked_tasks")
FAULTS = (
    "html_login_page",
    "truncated",
    "forbidden",
    "missing",
    "failing",
    "nulls",
    "garbage",
    "empty_element",
    "wrong_count",
    "short_page",
    "no_total",
    "emptied",
    "slow",
)
KNOWN = ("connection", "last_refresh_at", "project", "content_owner", "consecutive_failures", "suspended", "tags")


class SimulatedTableau:
    """A Tableau whose extracts and flows are refreshed by a test; ``facts`` are the present ones."""

    def __init__(self) -> None:
        self.now = NOW
        self.facts: Facts = Estate.large(40, 20, flows=6, sites=2, people=5, jobs=0, now=NOW).facts()
        self._jobs = 0

    def refresh(self, random: Random) -> None:
        """Refresh an extract or run a flow with success, of one site."""
        number = random.randrange(len(self.facts))
        site, kind = self.facts[number], random.choice(("workbooks", "datasources", "flows"))
        items = [item for item in getattr(site, kind) if kind == "flows" or item.has_extracts]
        item = random.choice(items)
        self._jobs += 1
        site = self._run(site, item) if kind == "flows" else self._refreshed(site, kind, item)
        self.facts = (*self.facts[:number], site, *self.facts[number + 1 :])

    def _run(self, site: Site, item: Content) -> Site:
        run = FlowRun(f"run-{self._jobs}", item.luid, "Success", self.now, self.now, 100, f"job-{self._jobs}")
        return site._replace(flow_runs=(*site.flow_runs, run))

    def _refreshed(self, site: Site, kind: str, item: Content) -> Site:
        sources = tuple(
            source._replace(refreshed_at=self.now, incremented_at=None) if source.has_extracts else source
            for source in item.sources
        )
        new = item._replace(sources=sources, updated_at=self.now)
        contents = tuple(new if one.luid == item.luid else one for one in getattr(site, kind))
        job = Job(
            luid=f"job-{self._jobs}",
            type="refresh_extracts",
            status="Success",
            created_at=self.now,
            started_at=self.now,
            ended_at=self.now,
            priority=50,
            progress=100,
            title=item.name,
            subtitle=item.kind,
            notes=None,
            kind=item.kind,
            asset=item.luid,
        )
        site = site._replace(jobs=(job, *site.jobs))
        return site._replace(workbooks=contents) if kind == "workbooks" else site._replace(datasources=contents)


def truth(facts: Facts) -> dict[tuple[str, str], datetime | None]:
    """Return when the stalest data of each asset was refreshed; None for live assets or those that never ran."""
    found: dict[tuple[str, str], datetime | None] = {}
    for site in facts:
        published = {item.luid: item for item in site.datasources}
        tables = {one.luid: [at for _, at in one.tables if at] for one in site.virtual_connections}

        for item in (*site.workbooks, *site.datasources):
            found[item.kind, item.luid] = min(_extracts(item, published, tables), default=None)
        for flow in site.flows:
            runs = [run.completed_at for run in site.flow_runs if run.flow == flow.luid and run.status == "Success"]
            found["flow", flow.luid] = max((at for at in runs if at), default=None)
    return found


def _extracts(
    item: Content, published: Mapping[str, Content], tables: Mapping[str, list[datetime]]
) -> Iterator[datetime]:
    """Yield when each extract that an asset reads was refreshed, or made."""
    for source in item.sources:
        if source.published:
            yield from _extracts(published[source.published], published, tables)
        elif source.has_extracts:
            refreshes = [at for at in (source.refreshed_at, source.incremented_at) if at]
            yield max(refreshes or [at for at in (source.made_at,) if at])
    for luid in item.virtual:
        yield from tables[luid]


@pytest.fixture
def simulated() -> SimulatedTableau:
    """A small Tableau with two sites and every oddity."""
    return SimulatedTableau()


@pytest.fixture
def server(simulated: SimulatedTableau) -> Iterator[TableauServer]:
    """It over HTTP."""
    with TableauServer(Estate(lambda: simulated.facts)) as running:
        yield running


@pytest.fixture
def harness(server: TableauServer, tmp_path: Path) -> Iterator[RestPollerHarness]:
    """An agent that polls it."""
    made = RestPollerHarness(server, tmp_path / "history.duckdb", seconds(NOW))
    yield made
    made.rest.close()


def fail(server: TableauServer, kind: str, fault: str) -> None:
    """Set a fault of one kind of request."""
    if fault == "slow":
        server.failure_modes.affected, server.failure_modes.slow_seconds = {kind}, 2.0
    else:
        setattr(server.failure_modes, fault, {kind})


def test_everything_is_known_and_true(harness: RestPollerHarness, server: TableauServer) -> None:
    """With every oddity of a real Tableau, all assets are there, as fresh as they are."""
    assert harness.poll()
    found, true = harness.assets(), truth(server.facts())
    assert found.keys() == true.keys()
    assert harness.status().success
    for key, row in found.items():
        expected = None if true[key] is None else seconds(true[key])  # type: ignore[arg-type]
        assert (None if row["last_refresh_at"] is None else seconds(row["last_refresh_at"])) == expected  # type: ignore[arg-type]
        assert (row["connection"] == "live") == (expected is None and key[0] != "flow")


def faults_for(kind: str) -> tuple[str, ...]:
    """Return the faults that a kind of list meets: every third of them, another third for the next kind; soak has all.

    Each fault meets three lists, and each list at least four faults.
    """
    return FAULTS if LONG else FAULTS[SUPPLEMENTS.index(kind) % 3 :: 3]


def test_each_fault_meets_three_lists() -> None:
    """Which faults a list meets in a short run is spread evenly: none is left out."""
    met = [fault for kind in SUPPLEMENTS for fault in faults_for(kind)]
    assert all(met.count(fault) >= 3 for fault in FAULTS)


@pytest.mark.parametrize("kind", SUPPLEMENTS)
def test_a_supplement_takes_no_asset_down(
    harness: RestPollerHarness, server: TableauServer, simulated: SimulatedTableau, kind: str
) -> None:
    """Under any fault no asset is lost, made fresher, or loses its known freshness, nor by a restart meanwhile."""
    # A fault meets every site alike: one of them is half the requests.
    simulated.facts = simulated.facts if LONG else simulated.facts[:1]
    harness.timeout = 5.0
    harness.poll()
    before = harness.assets()
    for fault in faults_for(kind):
        server.failure_modes.reset()
        if kind in {"jobs", "job"}:
            server.failure_modes.metadata = "missing"
        harness.timeout = 0.5 if fault == "slow" else 5.0
        harness.restart()
        harness.poll()
        whole = harness.assets()
        fail(server, kind, fault)
        assert harness.poll(), fault
        now = harness.assets()
        assert now.keys() == whole.keys() == before.keys(), fault
        assert harness.status().success, fault
        # These lists have no count: whether one entry is missing cannot be seen.
        known = KNOWN[:4] if "tasks" in kind and fault == "short_page" else KNOWN
        for key, row in whole.items():
            assert [now[key][name] for name in known] == [row[name] for name in known], fault
        harness.restart()
        assert harness.poll(), fault
        for key, row in harness.assets().items():
            assert [row[name] for name in KNOWN[:2]] == [before[key][name] for name in KNOWN[:2]], fault


def faults_of(random: Random, server: TableauServer) -> str:
    """Set some faults at random; return them."""
    server.failure_modes.reset()
    chosen = [(random.choice(SUPPLEMENTS), random.choice(FAULTS[:-1])) for _ in range(random.randrange(3))]
    for kind, fault in chosen:
        setattr(server.failure_modes, fault, {kind})
    odd: dict[str, object] = {
        "metadata_throttle_next": random.randrange(1, 5),
        "metadata_partial": True,
        "metadata_time_limit": random.choice((1, 5, 30)),
        "metadata_backfill": random.choice(("empty", "null", "null_items")),
        "metadata_nameless": True,
        "metadata_shifting": True,
        "metadata_permissions": True,
        "metadata_nulls": True,
        "metadata_node_limit": random.choice((3, 40)),
        "metadata": random.choice(("missing", "disabled")),
        "updated_at_lies": True,
    }
    names = random.sample(sorted(odd), random.randrange(4))
    for name in names:
        setattr(server.failure_modes, name, odd[name])
    return f"{chosen} {names}"


@pytest.mark.parametrize("seed", range(times(2, 200)))
def test_hours_fall_only_by_a_refresh(
    harness: RestPollerHarness, server: TableauServer, simulated: SimulatedTableau, seed: int
) -> None:
    """Random good, partial, throttled, empty and late answers: no asset is ever fresher than it is, or than before."""
    random, course = Random(seed), list[str]()
    before: dict[tuple[str, str], float] = {}
    for _ in range(25):
        for _ in range(random.randrange(4)):
            simulated.refresh(random)
        course.append(faults_of(random, server))
        if random.random() < 0.15:
            harness.restart()
            course.append("restart")
        harness.poll(after=random.choice((60.0, 300.0, 7200.0)))
        simulated.now = datetime.fromtimestamp(harness.now, UTC).replace(tzinfo=None)
        true, found = truth(server.facts()), harness.assets()
        assert found.keys() == true.keys(), course
        rows = harness.merged.rows(harness.now)
        assert rows is not None
        judged = judge(rows, lambda _asset: (12.0, 24.0), harness.now).to_pylist()
        statuses = {(row["asset_type"], row["asset_id"]): row["status"] for row in judged}
        for key, row in found.items():
            real = None if (at := true[key]) is None else seconds(at)
            if statuses[key] == "Live":
                assert real is None, (key, course)
            if statuses[key] == "Healthy":
                assert real is not None, (key, course)
                assert harness.now - real <= 12 * 3600, (key, course)
            unsure = row["connection"] is None and key[0] != "flow"
            if row["freshness_source"] in {"metadata", "job", "created"} and not (unsure and key not in before):
                rendered = seconds(row["last_refresh_at"])  # type: ignore[arg-type]
                assert real is not None, (key, course)
                assert rendered <= real, (key, row, course)
                assert rendered >= before.get(key, rendered), (key, row, course)
                before[key] = rendered
            else:
                assert key not in before, (key, row, course)


def test_since_when_each_source_is_silent(harness: RestPollerHarness, server: TableauServer) -> None:
    """The metric stands where a source was last read whole, also after a restart, and goes on with the source."""
    family = "tableau_freshness_source_last_success_timestamp_seconds"
    harness.poll()
    first = harness.now
    assert {labels[1] for labels in harness.values(family)} == set(SOURCES_OF_FRESHNESS) - {"job"}
    assert set(harness.values(family).values()) == {first}
    server.failure_modes.metadata_throttle_next = 100
    server.failure_modes.failing = {"flow_runs"}
    harness.poll()
    assert harness.values(family)["default", "metadata"] == first
    assert harness.values(family)["default", "flow_run"] == first
    assert harness.values(family)["default", "task"] == harness.now
    assert harness.values(family)["default", "job"] == harness.now
    harness.restart()
    harness.poll()
    assert harness.values(family)["site1", "metadata"] == first
    server.failure_modes.reset()
    harness.poll()
    assert harness.values(family)["site1", "metadata"] == harness.now
    assert ("site1", "job") not in harness.values(family)


def test_a_site_that_fails_keeps_its_series(harness: RestPollerHarness, server: TableauServer) -> None:
    """Where a site's lists cannot be read, its sources go silent with it; where a site is gone, so are they."""
    family = "tableau_freshness_source_last_success_timestamp_seconds"
    harness.poll()
    first = harness.now
    server.failure_modes.sites_failing = {""}
    harness.poll()
    assert harness.values(family)["default", "metadata"] == first
    assert harness.values(family)["site1", "metadata"] == harness.now
    server.failure_modes.reset()
    harness.sites = ("default",)
    harness.restart()
    harness.poll()
    assert {labels[0] for labels in harness.values(family)} == {"default"}


def test_a_refresh_is_remembered_without_an_end(
    harness: RestPollerHarness, server: TableauServer, simulated: SimulatedTableau
) -> None:
    """A flow that ran a month ago, and an extract whose job Tableau has forgotten, are as old as they are."""
    server.failure_modes.metadata = "missing"
    simulated.refresh(Random(3))
    harness.poll()
    before = {key: row["last_refresh_at"] for key, row in harness.assets().items() if row["freshness_source"] == "job"}
    assert {key[0] for key in before} >= {"flow"}
    simulated.facts = tuple(site._replace(jobs=(), flow_runs=()) for site in simulated.facts)
    harness.restart()
    harness.poll(after=32 * 86_400.0)
    found = harness.assets()
    assert {key: found[key]["last_refresh_at"] for key in before} == before
    hours = {labels[3]: value for labels, value in harness.values("tableau_asset_hours_since_refresh").items()}
    assert all(hours[luid] > 32 * 24 for _, luid in before)


def test_what_is_remembered_and_what_is_forgotten(
    harness: RestPollerHarness, server: TableauServer, simulated: SimulatedTableau
) -> None:
    """Listed assets are remembered for ever, and the hidden sources of listed workbooks; removed ones, for a month."""
    harness.poll()
    gone = {item.luid for site in simulated.facts for item in site.flows}
    hidden = {item.luid for site in simulated.facts for item in site.datasources}
    used = {source.published for site in simulated.facts for book in site.workbooks for source in book.sources} - {None}
    known = {
        row["asset_id"]: row["last_refresh_at"] for row in harness.assets().values() if row["asset_type"] == "workbook"
    }
    simulated.facts = tuple(site._replace(flows=(), flow_runs=(), datasources=()) for site in simulated.facts)
    server.failure_modes.metadata_throttle_next = 10_000
    for _ in range(5):
        harness.poll(after=7 * 86_400.0)
    harness.restart()
    harness.poll()
    stored = {luid for (luid,) in harness.query("SELECT asset_id FROM asset_freshness")}
    assert not stored & gone
    assert stored & hidden == used & hidden
    now = {row["asset_id"]: row["last_refresh_at"] for row in harness.assets().values()}
    assert {luid: now[luid] for luid in known} == known


def test_the_history_that_cannot_be_read(harness: RestPollerHarness, server: TableauServer) -> None:
    """Without earlier refreshes the last change of content is not counted as one."""
    harness.poll()
    harness.restart()
    server.failure_modes.metadata_throttle_next = 100
    with harness.held():
        harness.poll()
    found = harness.assets()
    assert len(found) == 66
    assert "updated_at" not in {row["freshness_source"] for row in found.values()}
