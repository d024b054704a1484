"""``tableau-exporter check``: every fault at once, each with its remedy, and no secret."""

import json
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from exporter.check import check as findings_of
from exporter.config import RunOptions
from exporter.demo.draft import SMALL
from exporter.demo.postgres import Postgres
from exporter.demo.simulation import Simulation
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.errors import ExporterError
from exporter.exports import Export
from tests.support.pgbouncer import pgbouncer
from tests.support.program import run
from tests.support.prometheus import run_alertmanager

PASSWORD = "not to be told"
NO_DELTA = "--format=delta needs deltalake: pip install 'tableau-exporter[delta]'"


@pytest.fixture(scope="module")
def simulation(postgres18: Postgres) -> Iterator[Simulation]:
    """A repository that the tests of the checks may break."""
    with Simulation(postgres=postgres18, database="checks", scale=SMALL, days=0.1, requests_per_day=100) as simulation:
        yield simulation


def check(
    folder: Path, simulation: Simulation | None, *flags: str, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run the checks on a configuration from the environment alone."""
    keys = {"HISTORY__PATH": str(folder / "history.duckdb")}
    if simulation is not None:
        parameters = simulation.parameters()
        keys |= {
            "REPOSITORY__HOSTS": f"{parameters['host']}:{parameters['port']}",
            "REPOSITORY__DATABASE": str(parameters["dbname"]),
            "REPOSITORY__PASSWORD": str(parameters["password"]),
            "REPOSITORY__SSLMODE": "disable",
        }
    environment = {f"TABLEAU_EXPORTER_{key}": value for key, value in (keys | settings).items()}
    return run("check", *flags, environment={"PATH": os.environ["PATH"], **environment})


def faults(checked: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return the subjects of the faults that were found."""
    lines = [line for line in checked.stdout.splitlines() if line.startswith("fault")]
    return [line.removeprefix("fault").split(":")[0].strip() for line in lines]


def test_nothing_is_wrong(simulation: Simulation, tmp_path: Path) -> None:
    """The exit code is 0, each collector has a line, and nothing was written."""
    checked = check(tmp_path, simulation)
    assert (checked.returncode, checked.stderr, faults(checked)) == (0, "", [])
    for collector in ("active_users", "assets", "background_jobs", "content", "http_requests", "logins", "users"):
        assert checked.stdout.count(f"collector {collector}:") == 1
    assert "collector views" not in checked.stdout
    assert "PostgreSQL 18" in checked.stdout
    assert list(tmp_path.iterdir()) == []
    assert str(simulation.passwords["readonly"]) not in checked.stdout


def test_a_fault_stands_once_in_a_line(simulation: Simulation, tmp_path: Path) -> None:
    """A table that several statements of a collector need is named once; metrics of requests follow these."""
    with psycopg.connect(make_conninfo("", **simulation.admin()), autocommit=True) as connection:
        connection.execute(b"REVOKE SELECT ON background_jobs, _background_tasks FROM readonly")
        try:
            checked = check(tmp_path, simulation)
        finally:
            connection.execute(b"GRANT SELECT ON background_jobs, _background_tasks TO readonly")
    assert checked.stdout.count("background_jobs: no such table, or no right to read it") == 1
    assert checked.stdout.count("collector background_jobs:") == 1
    assert "ok     collector active_users: is made of what http_requests reads\n" in checked.stdout


def test_rights_that_are_lost_for_all(simulation: Simulation, tmp_path: Path) -> None:
    """Who may read nothing is one fault of the repository, named once, and none of each collector."""
    with psycopg.connect(make_conninfo("", **simulation.admin()), autocommit=True) as connection:
        connection.execute(b"REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM readonly")
        try:
            checked = check(tmp_path, simulation)
        finally:
            connection.execute(b"GRANT SELECT ON ALL TABLES IN SCHEMA public TO readonly")
    assert (checked.returncode, faults(checked)) == (1, ["repository"])
    (line,) = [line for line in checked.stdout.splitlines() if line.startswith("fault")]
    assert line.startswith("fault  repository: 127.0.0.1:")
    assert "GRANT SELECT ON ALL TABLES IN SCHEMA public TO readonly" in line
    assert "collector" not in checked.stdout


def test_where_the_history_really_is(tmp_path: Path) -> None:
    """A path that is a link, and a network file system, are notes; they are no faults."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path} rw - nfs4 filer:/srv rw\n")
    link = tmp_path / "link.duckdb"
    link.symlink_to(tmp_path / "history.duckdb")
    environ = {"TABLEAU_EXPORTER_HISTORY__PATH": str(link), "TABLEAU_EXPORTER_REPOSITORY__HOSTS": "127.0.0.1:1"}
    found = findings_of(
        RunOptions(environ={**environ, "TABLEAU_EXPORTER_REPOSITORY__PASSWORD": PASSWORD}), mountinfo=mounts
    )
    notes = [finding.message for finding in found if finding.ok is None and finding.subject == "history"]
    assert notes == [
        f"{link}: a link leads to {tmp_path}/history.duckdb, where the lock and the log of the file are too",
        (
            f"{link}: is on a network file system (nfs4): locks and fsync are not reliable there, and DuckDB needs"
            " both: put history.path on a local disk"
        ),
    ]


def test_exports_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A format without its library and an unwritable folder are faults; an object store is not contacted."""

    def load(name: str) -> Export:
        if name == "delta":
            raise ExporterError(NO_DELTA)
        return lambda _rows, _target, _options: 0

    monkeypatch.setattr("exporter.exports.load", load)
    (tmp_path / "file").touch()
    closed = tmp_path / "closed"
    monkeypatch.setattr(os, "access", lambda path, _mode: path != closed)
    closed.mkdir()
    entries = [
        {"format": "delta", "table": "usage", "output": "s3://lake/usage", "every": "1h"},
        {"format": "csv", "table": "usage", "output": ["s3://lake/usage", f"{tmp_path}/new/er"], "every": "1h"},
        {"format": "csv", "table": "sites", "output": f"{closed}/below", "every": "1h"},
        {"format": "text", "table": "logins", "output": [f"{tmp_path}/new", str(closed)], "every": "1h"},
        {"format": "text", "table": "users", "output": str(tmp_path), "every": "1h"},
    ]
    environ = {"HISTORY__PATH": f"{tmp_path}/history.duckdb", "REPOSITORY__HOSTS": "127.0.0.1:1"}
    environ["EXPORTS"] = json.dumps(entries)
    options = RunOptions(environ={f"TABLEAU_EXPORTER_{name}": text for name, text in environ.items()})
    found = [finding for finding in findings_of(options) if finding.subject.startswith("export ")]
    assert [(finding.ok, finding.subject, finding.message) for finding in found] == [
        (False, "export delta of usage to s3://lake/usage", NO_DELTA),
        (True, "export csv of usage to s3://lake/usage", "its library is installed; the store itself is not checked"),
        (True, f"export csv of usage to {tmp_path}/new/er", f"{tmp_path}: is writable"),
        (False, f"export csv of sites to {closed}/below", f"{closed}: not writable for this user; change its owner"),
        (False, f"export text of logins to {tmp_path}/new", f"{tmp_path}/new: no such folder; make it"),
        (False, f"export text of logins to {closed}", f"{closed}: not writable for this user; change its owner"),
        (True, f"export text of users to {tmp_path}", f"{tmp_path}: is writable"),
    ]


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """A host that refuses and a folder that is not there: two lines, exit code 1, no password."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        checked = check(
            tmp_path / "not there",
            None,
            REPOSITORY__HOSTS=f"127.0.0.1:{taken.getsockname()[1]}",
            REPOSITORY__PASSWORD=PASSWORD,
        )
    assert checked.returncode == 1
    assert faults(checked) == ["repository", "history"]
    assert "no such folder" in checked.stdout
    assert "refused" in checked.stdout
    assert PASSWORD not in checked.stdout + checked.stderr
    assert "Traceback" not in checked.stderr


def test_every_fault_of_the_configuration_is_reported(tmp_path: Path) -> None:
    """An unreadable file is not checked further."""
    checked = check(tmp_path, None, REPOSITORY__HOSTS="db", REPOSITORY__POLL_INTERVAL="soon", LOG__LEVEL="loud")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert faults(checked) == ["configuration"] * 2


def test_a_wrong_password_is_refused(simulation: Simulation, tmp_path: Path) -> None:
    """The line names the remedy, not the attempt."""
    checked = check(tmp_path, simulation, REPOSITORY__PASSWORD=PASSWORD)
    assert (checked.returncode, faults(checked)) == (1, ["repository"])
    assert "check repository.user and its password" in checked.stdout
    assert PASSWORD not in checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("mode", "code", "line"),
    [
        ("transaction", 0, "PostgreSQL 18"),
        ("statement", 1, "a pooler (PgBouncer) answers for the repository with pool_mode = statement"),
    ],
)
def test_a_pooler_in_front_of_the_repository(
    mode: str, code: int, line: str, simulation: Simulation, postgres18: Postgres, tmp_path: Path
) -> None:
    """Through PgBouncer everything is checked as without it, or the line names the pooler and the setting to change."""
    parameters = simulation.parameters()
    with pgbouncer(postgres18, {str(parameters["user"]): str(parameters["password"])}, pool_mode=mode) as port:
        checked = check(tmp_path, simulation, REPOSITORY__HOSTS=f"127.0.0.1:{port}")
    assert (checked.returncode, checked.stderr, faults(checked)) == (code, "", ["repository"] * code)
    assert line in checked.stdout


def test_a_folder_that_may_not_be_written(simulation: Simulation, tmp_path: Path) -> None:
    """An unwritable folder of the history is reported."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    checked = check(tmp_path, simulation)
    assert (checked.returncode, faults(checked)) == (1, ["history"])


@pytest.mark.parametrize(
    ("table", "column", "collectors"),
    [
        ("users", "login_at", ["collector logins"]),
        ("http_requests", "completed_at", ["collector http_requests"]),
        ("background_jobs", "finish_code", ["collector background_jobs"]),
        ("sites", "url_namespace", ["collector assets", "collector content"]),
        ("workbooks", "extracts_refreshed_at", ["collector assets"]),
    ],
)
def test_a_missing_column_is_named(
    table: str, column: str, collectors: list[str], simulation: Simulation, tmp_path: Path
) -> None:
    """A collector that cannot do without a column is a fault, and the column is named; the others are well."""
    with psycopg.connect(make_conninfo("", **simulation.admin()), autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO elsewhere".encode())
        try:
            checked = check(tmp_path, simulation)
        finally:
            connection.execute(f"ALTER TABLE {table} RENAME COLUMN elsewhere TO {column}".encode())
    assert (checked.returncode, faults(checked)) == (1, collectors)
    lines = [line for line in checked.stdout.splitlines() if line.startswith("fault")]
    assert all(f"{table}.{column}" in line for line in lines)


def test_a_column_that_can_be_done_without_is_a_note(simulation: Simulation, tmp_path: Path) -> None:
    """A collector that degrades names its missing columns, and no fault is reported."""
    with psycopg.connect(make_conninfo("", **simulation.admin()), autocommit=True) as connection:
        connection.execute(b"ALTER TABLE tasks RENAME COLUMN state TO elsewhere")
        try:
            checked = check(tmp_path, simulation)
        finally:
            connection.execute(b"ALTER TABLE tasks RENAME COLUMN elsewhere TO state")
    assert (checked.returncode, faults(checked)) == (0, [])
    assert "note   collector assets: works without tasks.state\n" in checked.stdout


def test_a_right_that_was_revoked_is_no_lack_of_the_version(simulation: Simulation, tmp_path: Path) -> None:
    """A newer column that may not be read any more is named as missing."""
    with psycopg.connect(make_conninfo("", **simulation.admin()), autocommit=True) as connection:
        others = "id, luid, name, site_id, owner_id, project_id, is_deleted, size"
        connection.execute(b"REVOKE SELECT ON flows FROM readonly")
        connection.execute(f"GRANT SELECT ({others}) ON flows TO readonly".encode())
        try:
            checked = check(tmp_path, simulation)
        finally:
            connection.execute(f"REVOKE SELECT ({others}) ON flows FROM readonly".encode())
            connection.execute(b"GRANT SELECT ON flows TO readonly")
    assert (checked.returncode, faults(checked)) == (0, [])
    assert (
        "note   collector assets: works without flows.state; readonly may not read all of flows:"
        " GRANT SELECT ON flows TO readonly, or set repository.user to readonly"
    ) in checked.stdout


@pytest.mark.parametrize(
    ("table", "mark", "consequence"),
    [
        (
            "http_requests",
            "note ",
            "http_requests (reads _http_requests instead, which has no ids: a history begun from the table",
        ),
        ("tasks", "note ", "works without tasks"),
        ("historical_disk_usage", "note ", "collector disks: works without historical_disk_usage"),
        ("extracts", "fault", "extracts: no such table, or no right to read it"),
    ],
)
def test_a_table_that_may_not_be_read(
    table: str, mark: str, consequence: str, simulation: Simulation, tmp_path: Path
) -> None:
    """A revoked right is reported with its consequence, and the GRANT that restores it."""
    with psycopg.connect(make_conninfo("", **simulation.admin()), autocommit=True) as connection:
        connection.execute(f"REVOKE SELECT ON {table} FROM readonly".encode())
        try:
            checked = check(tmp_path, simulation)
        finally:
            connection.execute(f"GRANT SELECT ON {table} TO readonly".encode())
    lines = [line for line in checked.stdout.splitlines() if f"GRANT SELECT ON {table} TO readonly" in line]
    marked = [line for line in lines if line.startswith(mark)]
    assert marked
    assert all(consequence in line and "tsm data-access repository-access enable" in line for line in marked)


@pytest.mark.parametrize("forbidden", [set(), {"systeminfo"}], ids=["allowed", "refused"])
def test_systeminfo_is_tried_where_it_is_switched_on(
    forbidden: set[str], simulation: Simulation, tmp_path: Path
) -> None:
    """A refusal is a fault that names the right that is missing; processes are no matter of the repository."""
    name, value = next(iter(TOKENS.items()))
    with TableauServer(Estate.of(simulation.company)) as server:
        server.failure_modes.forbidden = forbidden
        rest = {"REST__URL": server.url, "REST__TOKEN_NAME": name, "REST__TOKEN_VALUE": value}
        checked = check(tmp_path, simulation, REST__SYSTEM_INFO="true", **rest)
    (line,) = [line for line in checked.stdout.splitlines() if "systeminfo.xml" in line]
    if forbidden:
        assert line.startswith("fault  rest: ")
        assert "refused (1 Not authorized): the token's user must be a server administrator" in line
    else:
        assert line.startswith("ok ")
        assert line.endswith("systeminfo.xml lists 13 processes of 3 nodes")
    assert "collector processes" not in checked.stdout


def test_every_alertmanager_is_looked_at(simulation: Simulation, tmp_path: Path) -> None:
    """Each has a line of its own, healthy ones too; no alert is sent unless requested."""
    with run_alertmanager(tmp_path) as address, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
        urls = f"http://{address}, {dead}, http://{address}/nowhere"
        checked = check(tmp_path, simulation, ALERTMANAGER__URLS=urls, ALERTMANAGER__BEARER_TOKEN=PASSWORD)
        assert held(address) == []
    assert checked.returncode == 1
    lines = [line for line in checked.stdout.splitlines() if " alertmanager " in line]
    assert lines[0].startswith(f"ok     alertmanager http://{address}: Alertmanager 0.")
    assert lines[0].endswith(" answers")
    assert lines[1] == f"fault  alertmanager {dead}: Connection refused: check alertmanager.urls and that it runs"
    assert lines[2].startswith(f"fault  alertmanager http://{address}/nowhere: HTTP 404: ")
    assert len(lines) == 3
    assert PASSWORD not in checked.stdout + checked.stderr


def test_a_test_alert_is_sent_on_request(simulation: Simulation, tmp_path: Path) -> None:
    """Each Alertmanager gets a test alert that ends within a minute; a dead one hinders no other."""
    with run_alertmanager(tmp_path) as address:
        urls = f"http://127.0.0.1:1, http://{address}"
        checked = check(tmp_path, simulation, "--send-test-alert", ALERTMANAGER__URLS=urls)
        (alert,) = held(address)
    assert checked.returncode == 1
    assert f"ok     alertmanager http://{address}: accepted the test alert TableauTestAlert" in checked.stdout
    assert checked.stdout.count("fault  alertmanager http://127.0.0.1:1: ") == 1
    assert alert["labels"] == {"alertname": "TableauTestAlert", "severity": "info"}
    assert "test" in alert["annotations"]["summary"]
    assert "Nothing is wrong" in alert["annotations"]["description"]
    starts_at, ends_at = (datetime.fromisoformat(alert[key]) for key in ("startsAt", "endsAt"))
    assert ends_at - starts_at == timedelta(seconds=60)


def test_a_test_alert_without_alertmanagers_is_a_fault(simulation: Simulation, tmp_path: Path) -> None:
    """A test alert that cannot be sent is reported, in one line."""
    checked = check(tmp_path, simulation, "--send-test-alert")
    assert checked.returncode == 1
    assert [line for line in checked.stdout.splitlines() if "alertmanager" in line] == [
        "fault  alertmanager: none is configured, no test alert was sent; set alertmanager.urls"
    ]


def held(address: str) -> list[dict[str, Any]]:
    """Return the alerts that an Alertmanager holds."""
    with urllib.request.urlopen(f"http://{address}/api/v2/alerts", timeout=60) as answer:
        alerts: list[dict[str, Any]] = json.load(answer)
    return alerts
