"""The agent's threads: a fault in one of them is reported, and ends none."""

import math
import os
import re
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from exporter import app, collectors, logs, self_metrics
from exporter.collectors import users
from exporter.collectors.content import metrics as content
from exporter.config import RunOptions
from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.errors import HistoryError
from exporter.exposition import Exposition
from exporter.exposition.state_store import TimedBlocks
from exporter.history.place import log_place
from exporter.metrics import single
from exporter.poll_progress import Progress
from exporter.poller.collect import PollResult
from exporter.poller.repository_poller import RepositoryPoller
from exporter.poller.rest_poller import RestPoller
from exporter.status import CollectorStatus
from exporter.web.application import application
from tests.exposition.parsed import series
from tests.support.agent_process import Agent
from tests.support.wait import PATIENCE_SECONDS
from tests.web.fake_endpoint import ask


def made(folder: Path, **settings: str) -> app.Agent:
    """Make an agent whose threads do not run, configured by its environment: REPOSITORY__HOSTS="127.0.0.1:1"."""
    keys = {"HISTORY__PATH": str(folder / "history.duckdb"), **settings}
    environment = {f"TABLEAU_EXPORTER_{key}": value for key, value in keys.items()}
    options = RunOptions(folder / "none.yml", environ=environment)
    return app.Agent(options, options.load(collectors.discover()), logs.configure("error"))


def test_a_failed_rendering_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rendering that fails leaves the last one served, and the next is tried."""
    agent = made(tmp_path, REPOSITORY__HOSTS="127.0.0.1:1")
    tried = 0
    again = threading.Event()

    def render(*_: object) -> Exposition:
        nonlocal tried
        tried += 1
        if tried == 1:
            message = "can't start new thread"
            raise RuntimeError(message)
        again.set()
        return Exposition()

    monkeypatch.setattr(agent._renderer, "render", render)
    monkeypatch.setattr(app, "RENDER_SECONDS", 0.01)
    thread = threading.Thread(target=agent._render_forever, daemon=True)
    thread.start()
    assert again.wait(PATIENCE_SECONDS)
    agent._ending.set()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_ready_is_what_was_rendered(tmp_path: Path) -> None:
    """The agent is ready once its exposition was made after the first poll, not before it."""
    agent = made(tmp_path, REPOSITORY__HOSTS="127.0.0.1:1")
    agent._render()
    assert not agent.ready()
    poller = agent._workers.pollers["repository"]
    assert isinstance(poller, RepositoryPoller)
    agent._workers.context.history.lock()
    assert not poller.poll()
    assert not agent.ready(), "the source was tried, and what is served does not tell of it yet"
    agent._render()
    assert agent.ready()


def test_ready_waits_for_the_end_of_the_first_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rendering during the first poll makes no agent ready; failing pages do not delay it."""
    agent = made(tmp_path, REPOSITORY__HOSTS="127.0.0.1:1")
    poller = agent._workers.pollers["repository"]
    assert isinstance(poller, RepositoryPoller)
    agent._workers.context.history.lock()
    store, between = poller._store, list[bool]()

    def rendered_between(taken: PollResult, now: float, *, exact: bool) -> HistoryError | None:
        agent._render()
        between.append(agent.ready())
        return store(taken, now, exact=exact)

    def fail(*_: object) -> None:
        message = "no page"
        raise ValueError(message)

    monkeypatch.setattr(poller, "_store", rendered_between)
    assert not poller.poll()
    assert between == [False]
    monkeypatch.setattr(agent._page_builder, "build", fail)
    with pytest.raises(ValueError, match="no page"):
        agent._render()
    assert agent.ready()
    assert b"tableau_collector_success" in agent.exposition().text
    assert b'tableau_up{source="repository"} 0' in agent.exposition().text


def test_requests_to_tableau_are_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer marks the progress of the REST API's poll, which is current until it ends."""
    marked: list[Progress] = []

    def moved(progress: Progress) -> None:
        marked.append(progress)

    monkeypatch.setattr(Progress, "moved", moved)
    (name, value), *_ = TOKENS.items()
    with TableauServer(Estate.of(Company.build(1, datetime(2025, 11, 19, 10, 30), SMALL))) as server:  # noqa: DTZ001
        agent = made(tmp_path, REST__URL=server.url, REST__TOKEN_NAME=name, REST__TOKEN_VALUE=value)
        rest, poller = agent._store.status.progress["rest"], agent._workers.pollers["rest"]
        assert isinstance(poller, RestPoller)
        agent._workers.context.history.lock()
        assert poller.poll()
        assert len(marked) >= sum(server.requests.values()) > 0
    assert set(marked) == {rest}
    assert rest.current is None


def test_the_limits_of_the_watchdog_follow_a_reload(tmp_path: Path) -> None:
    """A longer timeout is in force at once."""
    agent = made(tmp_path, REPOSITORY__HOSTS="127.0.0.1:1")
    assert agent._watchdog.limits == {"repository": 90.0}
    agent._options = replace(
        agent._options, environ={**agent._options.environ, "TABLEAU_EXPORTER_REPOSITORY__STATEMENT_TIMEOUT": "1m"}
    )
    agent.reload()
    assert agent._watchdog.limits == {"repository": 180.0}


def test_a_reload_continues_with_the_token_and_the_alerts(tmp_path: Path) -> None:
    """New workers have the statistics of the old ones: lost sessions of the token, alerts and counters."""
    rest = {"REST__URL": "http://127.0.0.1:1", "REST__TOKEN_NAME": "agent", "REST__TOKEN_VALUE": "secret"}
    agent = made(tmp_path, ALERTMANAGER__URLS="http://127.0.0.1:1", **rest)
    before = agent._workers
    agent._state.token.offered("agent")
    agent.reload()
    poller, manager = agent._workers.pollers["rest"], agent._workers.rule_manager
    assert isinstance(poller, RestPoller)
    assert poller is not before.pollers["rest"]
    assert poller.rest.token_stats.name == "agent"
    assert manager is not None
    assert before.rule_manager is not None
    assert manager is not before.rule_manager
    assert manager.store is before.rule_manager.store


NO_REQUESTS = "from the Activity Log or Admin Insights; none is configured"
NO_UNUSED = "by the statistics of a repository of Tableau Server, and none is configured"


def test_use_without_a_repository(tmp_path: Path) -> None:
    """An agent with the REST API alone names the sources of usage; its files are heads alone."""
    agent = made(tmp_path, REST__URL="http://127.0.0.1:1", REST__TOKEN_NAME="agent", REST__TOKEN_VALUE="secret")
    agent._render()
    pages = application(agent)
    sources = {
        "/usage": "from the Activity Log or Admin Insights; none is configured",
        "/usage?list=unused90": NO_UNUSED,
    }
    for path, needed in sources.items():
        text = ask(pages, "GET", path).body.decode()
        assert needed in text
        assert "disabled" not in text
    for path in ("/usage.csv", "/usage.csv?of=content&list=unused90"):
        assert ask(pages, "GET", path).body.count(b"\r\n") == 1


def test_the_expiry_of_the_certificate_is_exposed(tmp_path: Path) -> None:
    """A rendering has the expiry of a renewed certificate, after a reload too; without TLS there is none."""
    authority = trustme.CA()
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}")
    _certify(tmp_path, authority, 2040)
    agent = made(tmp_path, REPOSITORY__HOSTS="127.0.0.1:1", WEB__CONFIG_FILE=str(tmp_path / "web.yml"))
    agent._render()
    assert _expiry(agent) == datetime(2040, 1, 1, tzinfo=UTC).timestamp()
    _certify(tmp_path, authority, 2041)
    agent._render()
    assert _expiry(agent) == datetime(2041, 1, 1, tzinfo=UTC).timestamp()
    agent.reload()
    agent._render()
    assert _expiry(agent) == datetime(2041, 1, 1, tzinfo=UTC).timestamp()
    (tmp_path / "plain").mkdir()
    plain = made(tmp_path / "plain", REPOSITORY__HOSTS="127.0.0.1:1")
    plain._render()
    assert _expiry(plain) is None


def _certify(folder: Path, authority: trustme.CA, year: int) -> None:
    certificate = authority.issue_cert("localhost", not_after=datetime(year, 1, 1, tzinfo=UTC))
    for name, blob in (("server.crt", certificate.cert_chain_pems[0]), ("server.key", certificate.private_key_pem)):
        blob.write_to_path(folder / f"{name}.new")
        (folder / f"{name}.new").replace(folder / name)


def _expiry(agent: app.Agent) -> float | None:
    return series(agent.exposition()).get("tableau_exporter_web_certificate_expiry_timestamp_seconds")


def test_where_the_history_really_is_is_logged(tmp_path: Path) -> None:
    """A link is one line for information, a network file system one warning; a plain path is none."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / {tmp_path}/far rw - cifs //filer/srv rw\n")
    (tmp_path / "link").symlink_to(tmp_path / "far")
    with capture_logs() as lines:
        log_place(tmp_path / "history.duckdb", mounts)
        assert lines == []
        log_place(tmp_path / "far" / "history.duckdb", mounts)
        assert [(line["log_level"], line["type"]) for line in lines] == [("warning", "cifs")]
        lines.clear()
        log_place(tmp_path / "link" / "history.duckdb", mounts)
        assert [line["log_level"] for line in lines] == ["info", "warning"]
        assert lines[0]["file"] == f"{tmp_path}/far/history.duckdb"


def test_an_agent_behind_a_link_says_so(tmp_path: Path) -> None:
    """`run` logs it once, at its start."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    path = tmp_path / "link" / "history.duckdb"
    nowhere: dict[str, str | int] = {"host": "127.0.0.1", "port": 1, "dbname": "workgroup", "user": "readonly"}
    with Agent(tmp_path, nowhere, HISTORY__PATH=str(path)) as agent:
        assert agent.logged().count("history.path is behind a link") == 1


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o640)])
def test_the_mask_is_only_tightened(tmp_path: Path, mask: int, mode: int) -> None:
    """The history is for owner and group, and for its owner alone where the agent was started with such a mask."""
    nowhere: dict[str, str | int] = {"host": "127.0.0.1", "port": 1, "dbname": "workgroup", "user": "readonly"}
    agent = Agent(tmp_path, nowhere)
    before = os.umask(mask)
    try:
        agent.start(wait=False)
    finally:
        os.umask(before)
    try:
        agent.until(agent.history.exists, "the history is made")
    finally:
        agent.kill()
    assert agent.history.stat().st_mode & 0o777 == mode


def test_a_reload_changes_the_allowed_hosts(tmp_path: Path) -> None:
    """web.allowed_hosts is read from the environment, and a reload applies it at once."""
    names = {"REPOSITORY__HOSTS": "127.0.0.1:1", "WEB__LISTEN_ADDRESS": "127.0.0.1:0"}
    agent = made(tmp_path, **names, WEB__ALLOWED_HOSTS="a.example.com, B.example.com")
    assert agent._access.allowed_hosts == {"a.example.com", "b.example.com"}
    agent._options = RunOptions(
        tmp_path / "none.yml",
        environ={**agent._options.environ, "TABLEAU_EXPORTER_WEB__ALLOWED_HOSTS": "[c.example.com]"},
    )
    agent.reload()
    assert agent._access.allowed_hosts == {"c.example.com"}


def test_metrics_of_a_collector_have_what_the_agent_says_of_itself(tmp_path: Path) -> None:
    """With collect[] the families of other collectors are absent, and those that no collector declares are there."""
    agent = made(tmp_path, REPOSITORY__HOSTS="127.0.0.1:1")
    for name in ("users", "logins"):
        agent._store.status.set_collector(CollectorStatus(name, True, 0.5, None))
    blocks = (single(users.USERS, 3, site="a", site_role="b"), single(content.CONTENT, 4, site="a", asset_type="b"))
    agent._store.set_state("users", TimedBlocks(blocks, time.time(), math.inf))
    agent._render()
    lines = set(ask(application(agent), "GET", "/metrics?collect[]=users").body.decode().splitlines())
    assert {'tableau_up{source="repository"} 0', 'tableau_collector_success{collector="users"} 1'} < lines
    assert 'tableau_users{site="a",site_role="b"} 3' in lines
    assert not [line for line in lines if line.startswith("tableau_content") or '"logins"' in line]
    everything = ask(application(agent), "GET", "/metrics").body.decode()
    assert 'tableau_content{site="a",asset_type="b"} 4' in everything
    refused = ask(application(agent), "GET", "/metrics?collect[]=views")
    assert (refused.status, refused.body) == (400, b"The collector views is disabled.\n")


def test_each_family_is_declared_once() -> None:
    """Collectors share a family as one declaration; none belongs to a collector and the agent."""
    declared = {family for each in collectors.discover().values() for family in each.all_families()}
    assert sorted(family.name for family in declared) == sorted(collectors.declared_by())
    assert collectors.declared_by()["tableau_events_total"] == {"admin_insights", "events"}
    assert not collectors.declared_by().keys() & {family.name for family in self_metrics.FAMILIES}


def test_a_reload_changes_the_exports(tmp_path: Path) -> None:
    """Each configured export has its counters from the start; a reload removes those of a removed one."""
    names = {"REPOSITORY__HOSTS": "127.0.0.1:1", "WEB__LISTEN_ADDRESS": "127.0.0.1:0"}
    export = "[{format: csv, table: %s, output: 's3://lake/x', every: 1h}]"
    agent = made(tmp_path, **names, EXPORTS=export % "logins")
    agent._render()
    assert _exports(agent) == {"failures_total": "logins", "rows_total": "logins"}
    agent._options = RunOptions(
        tmp_path / "none.yml", environ={**agent._options.environ, "TABLEAU_EXPORTER_EXPORTS": export % "usage"}
    )
    agent.reload()
    agent._render()
    assert _exports(agent) == {"failures_total": "usage", "rows_total": "usage"}
    assert [(status.table, status.format) for status in agent.status().exports] == [("usage", "csv")]


def _exports(agent: app.Agent) -> dict[str, str]:
    """Return the table of each series of exports that is 0."""
    pattern = r'(?m)^tableau_export_(\w+)\{table="(\w+)",format="csv",destination="s3://lake/x"\} 0$'
    return dict(re.findall(pattern, agent.exposition().text.decode()))
