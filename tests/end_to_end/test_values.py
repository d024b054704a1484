"""The exposition, compared with independent statements on the same repository."""

import time
from collections.abc import Callable, Iterator

import pytest

from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from tests.end_to_end.conftest import ask
from tests.end_to_end.scrapes import Samples, by_labels
from tests.support.agent_process import Agent

Agents = Callable[..., Agent]
SITE = "CASE WHEN sites.id IS NULL THEN '' ELSE coalesce(nullif(sites.url_namespace, ''), 'default') END"
WINDOWS = {"5m": "5 minutes", "1h": "1 hour", "1d": "1 day", "7d": "7 days", "30d": "30 days"}
# A scrape may be answered from a rendering of some seconds ago.
OLDEST_RENDERING_SECONDS = 20


@pytest.fixture(scope="module")
def quiet(postgres18: Postgres) -> Iterator[Simulation]:
    """A repository of a month in which nothing happens any more."""
    simulation = Simulation(postgres=postgres18, database="values", scale=SMALL, days=33, requests_per_day=60)
    with simulation:
        yield simulation


@pytest.fixture(scope="module")
def samples(quiet: Simulation, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """The agent's exposition of it after two polls."""
    with Agent(tmp_path_factory.mktemp("values"), quiet.parameters(), COLLECTORS="{views: true}") as agent:
        agent.polled(2)
        return agent.metrics()


def counted(simulation: Simulation, sql: str) -> dict[tuple[str, ...], float]:
    """Query labels and, in the last column, a number."""
    return {tuple(row[:-1]): float(row[-1]) for row in ask(simulation, sql)}


def test_requests_are_counted_as_in_the_repository(quiet: Simulation, samples: Samples) -> None:
    """Every completed request is counted once, under its site, controller, action and class of status."""
    expected = counted(
        quiet,
        f"""
        SELECT {SITE}, coalesce(controller, ''), coalesce(action, ''),
            coalesce(left(r.status::text, 1) || 'xx', 'unknown'), count(*)
        FROM http_requests AS r LEFT JOIN sites ON sites.id = r.site_id
        WHERE completed_at IS NOT NULL GROUP BY 1, 2, 3, 4
        """,
    )
    labels = ("site", "controller", "action", "status_class")
    assert by_labels(samples, "tableau_http_requests_total", *labels) == expected
    assert len(expected) > 50


def test_durations_are_those_of_the_repository(quiet: Simulation, samples: Samples) -> None:
    """Count, sum and each bucket of the durations equal those of the repository's times."""
    rows = ask(
        quiet,
        f"""
        SELECT {SITE}, action, count(*), sum(seconds)::float8, count(*) FILTER (WHERE seconds <= 0.5)
        FROM (SELECT *, extract(epoch FROM completed_at - created_at) AS seconds FROM http_requests) AS r
        LEFT JOIN sites ON sites.id = r.site_id
        WHERE completed_at IS NOT NULL GROUP BY 1, 2
        """,
    )
    name = "tableau_http_request_duration_seconds"
    assert by_labels(samples, f"{name}_count", "site", "action") == {
        (site, action): n for site, action, n, _, _ in rows
    }
    sums = {(site, action): pytest.approx(seconds, abs=1e-3) for site, action, _, seconds, _ in rows}
    assert by_labels(samples, f"{name}_sum", "site", "action") == sums
    quick = {(site, action): value for (site, action, le), value in _buckets(samples, name).items() if le == "0.5"}
    assert quick == {(site, action): n for site, action, _, _, n in rows}


def _buckets(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    return by_labels(samples, f"{name}_bucket", "site", "action", "le")


def test_active_people_are_counted_over_each_window(quiet: Simulation, agents: Agents) -> None:
    """Distinct users, by system_user_id, who made a request within the window, for each site and for all."""
    for window, age in WINDOWS.items():
        # A user just inside each window and one just outside, away from the border by more than a test takes.
        for position, factor in enumerate((0.5, 1.5)):
            ask(
                quiet,
                """
                INSERT INTO http_requests (controller, action, site_id, user_id, created_at, completed_at, status)
                SELECT 'views', 'show', 2, id, at, at, 200
                FROM (SELECT id, timezone('UTC', now()) - %s::interval * %s AS at FROM users
                      WHERE site_id = 2 ORDER BY id OFFSET %s LIMIT 1) AS somebody
                """,
                age,
                factor,
                3 + list(WINDOWS).index(window) * 2 + position,
            )
    agent = agents(quiet.parameters()).start()
    agent.polled()
    since = time.time() - OLDEST_RENDERING_SECONDS
    found = agent.metrics()
    for window, age in WINDOWS.items():
        # Nothing happens any more, so that the number can only fall while time passes.
        most, least = (_users(quiet, age, at) for at in (since, time.time()))
        published = {
            site: n
            for (site, w), n in by_labels(found, "tableau_active_users", "site", "window").items()
            if w == window
        }
        assert published.keys() == {"default", "marketing", "finance", "emea"}
        for site, number in published.items():
            assert least.get(site, 0) <= number <= most.get(site, 0), (window, site)
        assert least["all"] <= by_labels(found, "tableau_server_active_users", "window")[(window,)] <= most["all"]
        assert most["all"] > 0


def _users(simulation: Simulation, age: str, at: float) -> dict[str, int]:
    rows = ask(
        simulation,
        f"""
        SELECT CASE WHEN grouping(r.site_id) = 1 THEN 'all' ELSE {
            SITE.replace("sites.id", "max(sites.id)").replace("sites.url_namespace", "max(sites.url_namespace)")
        } END,
            count(DISTINCT users.system_user_id)
        FROM http_requests AS r
        JOIN users ON users.id = r.user_id
        LEFT JOIN sites ON sites.id = r.site_id
        WHERE r.created_at > timezone('UTC', to_timestamp(%s)) - %s::interval
        GROUP BY ROLLUP (r.site_id)
        """,
        at,
        age,
    )
    return dict(rows)


def test_hours_are_those_since_the_last_refresh(quiet: Simulation, samples: Samples) -> None:
    """For an asset with one extract of its own: the hours since the later of its full and incremental refresh."""
    expected = counted(
        quiet,
        """
        SELECT luid::text, extract(epoch FROM timezone('UTC', now())
            - coalesce(greatest(extracts_refreshed_at, extracts_incremented_at), last_published_at)) / 3600
        FROM workbooks AS w
        WHERE data_engine_extracts AND NOT is_deleted AND NOT EXISTS (
            SELECT FROM data_connections
            WHERE owner_type = 'Workbook' AND owner_id = w.id AND dbclass = 'sqlproxy')
        UNION ALL
        SELECT luid::text, extract(epoch FROM timezone('UTC', now())
            - coalesce(greatest(extracts_refreshed_at, extracts_incremented_at), last_published_at)) / 3600
        FROM datasources WHERE data_engine_extracts AND connectable AND state <> 'archived'
        """,
    )
    published = by_labels(samples, "tableau_asset_hours_since_refresh", "asset_id")
    assert len(expected) > 20
    assert {key: published.get(key) for key in expected} == {
        key: pytest.approx(hours, abs=0.1) for key, hours in expected.items()
    }


def test_live_deleted_and_archived_content_has_no_hours(quiet: Simulation, samples: Samples) -> None:
    """Content without own data never gets stale, and archived content is excluded."""
    company = quiet.company
    kinds = [("workbooks", "live"), ("datasources", "live"), ("workbooks", "deleted"), ("datasources", "archived")]
    absent = {(str(row["luid"]),) for table, kind in kinds for row in company.of_kind(table, kind)}
    assert len(absent) >= len(kinds)
    assert not absent & by_labels(samples, "tableau_asset_hours_since_refresh", "asset_id").keys()
    live = {
        (str(row["luid"]), "live") for table in ("workbooks", "datasources") for row in company.of_kind(table, "live")
    }
    assert live <= by_labels(samples, "tableau_asset_info", "asset_id", "connection").keys()


def test_users_are_counted_by_role(quiet: Simulation, samples: Samples) -> None:
    """Seats on each site, by the displayed name of the role."""
    expected = counted(
        quiet,
        f"""
        SELECT {SITE}, display_name, count(*) FROM users JOIN sites ON sites.id = users.site_id
        JOIN site_roles ON site_roles.id = users.site_role_id GROUP BY 1, 2
        """,
    )
    assert by_labels(samples, "tableau_users", "site", "site_role") == expected


@pytest.mark.parametrize(
    ("asset_type", "table", "condition"),
    [
        ("workbook", "workbooks", "NOT is_deleted"),
        ("datasource", "datasources", "connectable AND state <> 'archived'"),
        ("flow", "flows", "NOT is_deleted AND state <> 'archived'"),
        ("view", "views", "NOT is_deleted"),
        ("project", "projects", "true"),
    ],
)
def test_content_is_counted(asset_type: str, table: str, condition: str, quiet: Simulation, samples: Samples) -> None:
    """The content of a site by type, without deleted, archived and unpublished items."""
    sql = f"""
        SELECT {SITE}, '{asset_type}', (SELECT count(*) FROM {table} AS t WHERE t.site_id = sites.id AND {condition})
        FROM sites
    """
    published = by_labels(samples, "tableau_content", "site", "asset_type")
    assert {key: value for key, value in published.items() if key[1] == asset_type} == counted(quiet, sql)


def test_background_jobs_are_counted(quiet: Simulation, samples: Samples) -> None:
    """Finished jobs by type and outcome; waiting and running ones as they are now."""
    finished = counted(
        quiet,
        f"""
        SELECT {SITE}, job_type, (ARRAY['success', 'failure', 'cancelled'])[finish_code + 1], count(*)
        FROM background_jobs AS j LEFT JOIN sites ON sites.id = j.site_id
        WHERE completed_at IS NOT NULL GROUP BY 1, 2, 3
        """,
    )
    name = "tableau_background_jobs_finished_total"
    assert by_labels(samples, name, "site", "job_type", "outcome") == finished
    assert {outcome for _, _, outcome in finished} == {"success", "failure", "cancelled"}
    for name, condition in (("waiting", "started_at IS NULL"), ("running", "started_at IS NOT NULL")):
        now = counted(
            quiet,
            f"""
            SELECT {SITE}, job_type, count(*) FILTER (WHERE {condition})
            FROM background_jobs AS j LEFT JOIN sites ON sites.id = j.site_id
            WHERE completed_at IS NULL GROUP BY 1, 2
            """,
        )
        assert by_labels(samples, f"tableau_background_jobs_{name}", "site", "job_type") == now
        assert sum(now.values()) > 0


def test_a_login_between_two_polls_is_counted_once(changing: Simulation, agents: Agents) -> None:
    """Known logins are counted at the first poll, a new one once, however often it is seen again."""
    seats = "users JOIN sites ON sites.id = users.site_id"
    sql = f"SELECT {SITE}, count(*) FROM {seats} WHERE login_at IS NOT NULL GROUP BY 1"
    agent = agents(changing.parameters()).start()
    agent.polled(2)
    before = counted(changing, sql)
    assert by_labels(agent.metrics("tableau_logins_total"), "tableau_logins_total", "site") == before
    ask(
        changing,
        "UPDATE users SET login_at = timezone('UTC', now()) WHERE id ="
        " (SELECT min(id) FROM users WHERE site_id = 2 AND login_at IS NOT NULL)",
    )
    agent.polled(2)
    after = {**before, ("marketing",): before["marketing",] + 1}
    assert by_labels(agent.metrics("tableau_logins_total"), "tableau_logins_total", "site") == after
    agent.kill()
    agent.start().polled(2)
    assert by_labels(agent.metrics("tableau_logins_total"), "tableau_logins_total", "site") == after


def test_the_default_site_is_called_default(changing: Simulation, agents: Agents) -> None:
    """A site whose url_namespace is NULL is the Default site as well as one whose is empty."""
    ask(changing, "UPDATE sites SET url_namespace = NULL WHERE id = 1")
    agent = agents(changing.parameters()).start()
    agent.polled()
    sites = {site for (site,) in by_labels(agent.metrics("tableau_users"), "tableau_users", "site")}
    assert sites == {"default", "marketing", "finance", "emea"}
    assert agent.query("SELECT DISTINCT site FROM usage WHERE site_id = 1") == [("default",)]
    ask(changing, "UPDATE sites SET url_namespace = '' WHERE id = 1")


def test_workbooks_of_one_name_stay_apart(changing: Simulation, agents: Agents) -> None:
    """Two sites have a workbook of the same address: each request is joined to the one of its own site, once."""
    ask(
        changing,
        """
        INSERT INTO http_requests
            (id, site_id, user_id, controller, action, currentsheet, http_request_uri, status, created_at, completed_at)
        SELECT
            (SELECT max(id) FROM http_requests) + row_number() OVER (),
            w.site_id, w.owner_id, 'vizql', 'bootstrapSession', v.sheet, '/bootstrapSession', 200,
            now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
        FROM workbooks AS w
        JOIN (
            SELECT workbook_id, min(replace(repository_url, '/sheets/', '/')) AS sheet FROM views GROUP BY 1
        ) AS v ON v.workbook_id = w.id
        WHERE w.repository_url = 'ExecutiveDashboard'
        """,
    )
    agent = agents(changing.parameters(), COLLECTORS="{views: true}").start()
    agent.polled()
    sheet = "split_part(r.currentsheet, '/', 1)"
    expected = ask(
        changing,
        f"""
        SELECT s.name, w.name, owner.name, count(*)
        FROM http_requests AS r
        JOIN sites AS s ON s.id = r.site_id
        JOIN workbooks AS w ON w.site_id = r.site_id AND w.repository_url = {sheet}
        JOIN users ON users.id = w.owner_id
        JOIN system_users AS owner ON owner.id = users.system_user_id
        WHERE r.completed_at IS NOT NULL AND {sheet} = 'ExecutiveDashboard'
        GROUP BY 1, 2, 3 ORDER BY 1
        """,
    )
    found = agent.query(
        """
        SELECT site_name, workbook_name, owner_name, count(*) FROM usage
        WHERE split_part(currentsheet, '/', 1) = 'ExecutiveDashboard'
        GROUP BY ALL ORDER BY 1
        """
    )
    assert found == expected
    assert len(expected) > 1
    assert agent.query("SELECT count(*) FROM usage") == agent.query("SELECT count(*) FROM http_requests")
    published = by_labels(
        agent.metrics("tableau_view_requests_total"), "tableau_view_requests_total", "site", "workbook"
    )
    assert len({site for site, workbook in published if workbook == "ExecutiveDashboard"}) > 1
