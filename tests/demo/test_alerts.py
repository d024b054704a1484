"""``tableau-exporter demo --alerts``: real Prometheus, real Alertmanager, and the printed notifications."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from exporter.alerting.states import LATER_SECONDS
from exporter.demo import fast_rules, notices
from exporter.demo.receiver import WebhookReceiver
from tests.demo.program import PATIENCE_SECONDS, Demo
from tests.support.components import require

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "alerts" / fast_rules.RULES_FILE).read_text()
EXAMPLE = (ROOT / "alerts" / fast_rules.ALERTMANAGER_FILE).read_text()
FIXED = re.compile(
    r"^firing    critical  TableauAssetStale: (?P<asset>.+), data age [\d.]+ h, SLA 24 h, owner .+\n"
    r"\(the refresh of this asset is fixed now",
    re.MULTILINE,
)
GONE = "is not installed (apt-get install --no-install-recommends prometheus prometheus-alertmanager)"


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start simulated Clouds, which need no PostgreSQL, and end them with the test."""
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(Demo(folder, "--alerts", "--cloud", "--port", "0", *arguments))
        return started[-1]

    yield start
    for demo in started:
        demo.end()


def programs(folder: Path, **scripts: str) -> str:
    """Return a PATH that has nothing but these programs, each a shell script."""
    folder.mkdir()
    for name, script in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return str(folder)


def working(demo: Demo) -> list[str]:
    """Name the processes of others that work in the demo's folder."""
    return [line for line in demo.left() if "--config.file=" in line]


def raised(demo: Demo, alert: str) -> bool:
    """Return whether Prometheus ever had an alert pending or firing."""
    address = httpx.URL(demo.url("alerts")).netloc.decode()
    query = f'count_over_time(ALERTS{{alertname="{alert}"}}[1h])'
    answer = httpx.get(f"http://{address}/api/v1/query", params={"query": query}, timeout=PATIENCE_SECONDS)
    return bool(answer.json()["data"]["result"])


@pytest.mark.timeout(600)
def test_an_alert_goes_through(demos: Callable[..., Demo]) -> None:
    """A stale asset fires and is notified, is refreshed, and is notified as resolved; SIGTERM leaves no process.

    That the waits are short raises nothing that is not so: at no time the agent was missed.
    """
    require("prometheus")
    require("alertmanager")
    demo = demos()
    demo.until(lambda: FIXED.search(demo.output()), "the refresh of a stale asset is fixed")
    found = FIXED.search(demo.output())
    assert found is not None
    # Where it was fixed before Prometheus raised it too, only the agent sends the end: two minutes after it.
    demo.until(
        lambda: f"\nresolved  critical  TableauAssetStale: {found['asset']}, data age was " in demo.output(),
        "it is resolved",
        LATER_SECONDS + PATIENCE_SECONDS,
    )
    assert raised(demo, "TableauAssetStale")
    assert not raised(demo, "TableauExporterDown")
    assert len(working(demo)) == 2
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    assert demo.left() == []
    assert "Traceback" not in demo.output()


def test_a_killed_demo_leaves_its_folder_and_no_process(demos: Callable[..., Demo]) -> None:
    """SIGKILL leaves files behind, but Prometheus and Alertmanager end."""
    require("prometheus")
    require("alertmanager")
    demo = demos()
    demo.url("Alertmanager")
    assert len(working(demo)) == 2
    demo.process.send_signal(signal.SIGKILL)
    demo.process.wait(PATIENCE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while working(demo):
        assert time.monotonic() < deadline, working(demo)
        time.sleep(0.05)


def test_without_the_programs_it_goes_on(
    demos: Callable[..., Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing program is one line each, with how to install it; the demo ends as usual."""
    monkeypatch.setenv("PATH", programs(tmp_path / "bin"))
    demo = demos("--for", "1s")
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    output = demo.output().splitlines()
    for name in ("Prometheus", "Alertmanager"):
        assert output.count(f"{name} {GONE}: the demo goes on without it") == 1
    assert "status page" in demo.output()
    assert demo.left() == []


def test_what_does_not_start_says_why(
    demos: Callable[..., Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first message of a program that ends at once is printed; the demo goes on, and no process is left."""
    script = 'echo "level=info starting"; echo "level=error no $1" | cut -c1-27; echo "level=info bye"; exit 1'
    path = programs(tmp_path / "bin", prometheus=script, alertmanager=script)
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}/bin")
    demo = demos("--for", "1s")
    assert demo.process.wait(PATIENCE_SECONDS) == 0
    output = demo.output().splitlines()
    assert "Prometheus did not start: level=error no --config.fil; the demo goes on without it" in output
    assert demo.left() == []


def test_the_rules_differ_in_their_times_alone(tmp_path: Path) -> None:
    """``for`` and ``keep_firing_for`` are changed, all of them, the windows of the server, and nothing else."""
    text = fast_rules.rules(RULES)
    windows = re.compile(r"(tableau_server_\w+)\[2m\]")
    assert len(windows.findall(text)) == 3

    def walked(text: str) -> tuple[list[Any], list[str]]:
        rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
        return rules, [str(rule.pop(key)) for rule in rules for key in ("for", "keep_firing_for") if key in rule]

    (before, waits), (after, shorter) = walked(RULES), walked(windows.sub(r"\1[6h]", text))
    assert after == before
    minutes = [int(wait[:-1]) * {"m": 1, "h": 60}[wait[-1]] for wait in waits]
    assert [f"{max(wait, 1)}s" for wait in minutes] == shorter
    path = tmp_path / fast_rules.RULES_FILE
    path.write_text(text)
    subprocess.run([require("promtool"), "check", "rules", path], check=True, capture_output=True)


def test_alertmanager_goes_the_ways_of_the_example(tmp_path: Path) -> None:
    """Routes, groups and inhibitions are the example's; amtool accepts the result, and a webhook is every receiver."""
    text = fast_rules.alertmanager(EXAMPLE, "http://127.0.0.1:1/")
    example, made = yaml.safe_load(EXAMPLE), yaml.safe_load(text)

    def without_waits(route: dict[str, Any]) -> dict[str, Any]:
        left = {key: value for key, value in route.items() if key not in fast_rules.ROUTE_WAITS}
        return left | {"routes": [without_waits(each) for each in route.get("routes", [])]}

    assert without_waits(made["route"]) == without_waits(example["route"])
    assert made["inhibit_rules"] == example["inhibit_rules"]
    assert [each["name"] for each in made["receivers"]] == [each["name"] for each in example["receivers"]]
    assert {key for each in made["receivers"] for key in each} == {"name", "webhook_configs"}
    path = tmp_path / fast_rules.ALERTMANAGER_FILE
    path.write_text(text)
    subprocess.run([require("amtool"), "check-config", path], check=True, capture_output=True)


def notification(*alerts: dict[str, Any], receiver: str = "owner") -> dict[str, Any]:
    """Make what Alertmanager posts."""
    return {"receiver": receiver, "alerts": list(alerts)}


STALE: dict[str, Any] = {
    "status": "firing",
    "labels": {
        "alertname": "TableauAssetStale",
        "severity": "critical",
        "asset_type": "workbook",
        "asset_name": "Month\x1b[2J\u202e End",
        "project": "Finance\nEMEA",
        "content_owner": "priya",
    },
    "annotations": {"hours": "59.6", "promised": "24"},
}


def test_strangers_names_move_no_cursor() -> None:
    """A line has the alert, asset, data age, SLA and owner; names are printable."""
    ((alert, receivers),) = notices.Notices().new([notification(STALE)])
    published = notices.line(alert, receivers)
    assert published == (
        'firing    critical  TableauAssetStale: workbook "Month\\x1b[2J\\u202e End" in Finance EMEA, '
        "data age 59.6 h, SLA 24 h, owner priya  -> owner"
    )


def test_what_was_told_is_not_told_again() -> None:
    """A group that is sent again prints only its changes; two receivers of one alert are one line."""
    other = {**STALE, "labels": {**STALE["labels"], "asset_name": "Another", "severity": "warning"}}
    notified = notices.Notices()
    first = notified.new([notification(other), notification(STALE), notification(STALE, receiver="team")])
    assert [(alert.labels["severity"], receivers) for alert, receivers in first] == [
        ("critical", ["owner", "team"]),
        ("warning", ["owner"]),
    ]
    (again,) = notified.new([notification(STALE, {**other, "status": "resolved"})])
    assert (again[0].status, again[0].labels) == ("resolved", other["labels"])
    assert len(notified.new([notification(other)])) == 1


def test_a_flood_is_counted() -> None:
    """Half a minute has so many lines at most; the number of omitted ones is printed once, at its end."""
    now = 0.0
    pace = notices.Pace(lambda: now)
    assert [pace.allows() for _ in range(notices.PACE_LINES + 3)] == [True] * notices.PACE_LINES + [False] * 3
    assert pace.withheld() == 0
    now = notices.PACE_SECONDS
    assert (pace.withheld(), pace.withheld()) == (3, 0)
    assert pace.allows()


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"alerts": {}}', "[" * 100_000])
def test_what_is_no_notification_is_refused(body: str) -> None:
    """Whatever else is posted is answered with 400, and nothing of it arrives."""
    with WebhookReceiver() as receiver:
        connection = HTTPConnection(receiver.url.removeprefix("http://").rstrip("/"))
        connection.request("POST", "/", body.encode())
        assert connection.getresponse().status == 400
        connection.close()
        assert list(receiver.arrived()) == []
