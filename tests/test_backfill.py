"""``history backfill`` as a command, and its result in a real Prometheus."""

import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter import backfill
from exporter.cli import main
from tests.history.polled_history import BEGUN, DAY, FAMILIES, HOUR, PolledHistory, naive, poll_hours, without_zeros
from tests.support.components import require
from tests.support.prometheus import prometheus_data, run_prometheus
from tests.test_documentation import block

END = BEGUN + 50 * HOUR
YESTERDAY = BEGUN + DAY
"""A whole day of the history."""
MIDNIGHT = YESTERDAY + DAY
JOB = {"job": "tableau", "instance": "tableau:10071"}
LABELS = tuple(f"--label={name}={value}" for name, value in JOB.items())
REQUESTS = "tableau_http_requests_total"


@pytest.fixture(scope="module")
def polled(tmp_path_factory: pytest.TempPathFactory) -> PolledHistory:
    """Two days of polls, and some."""
    return poll_hours(tmp_path_factory.mktemp("lived") / "history.duckdb", 50)


@pytest.fixture(autouse=True)
def environment(polled: PolledHistory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment that names this history."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__PATH", str(polled.path))


def written(*arguments: str) -> Result:
    """Run the command up to the end of the history."""
    return CliRunner().invoke(main, ["history", "backfill", f"--until={END:%Y-%m-%dT%H:%M:%S}", *arguments])


def test_the_output_is_openmetrics(polled: PolledHistory) -> None:
    """Each instant is an exposition as a strict parser reads it, with the labels of the scrape."""
    result = written("--step=1h", *LABELS)
    assert result.exit_code == 0
    assert result.stdout.endswith("\n# EOF\n")
    count = 0
    for at, text in _by_instant(result.stdout).items():
        families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
        samples = [sample for family in families for sample in family.samples]
        assert [family.name for family in families] == [name.removesuffix("_total") for name in FAMILIES]
        assert all(JOB.items() <= sample.labels.items() for sample in samples)
        total = sum(sample.value for sample in samples if sample.name == REQUESTS)
        live = polled.live.get(int(at), {})
        assert total == sum(value for name, value in live.items() if name.startswith(REQUESTS))
        count += len(samples)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{count:,} samples from ")
    assert line.endswith(f" to {naive(END)} UTC, every 3600 s")


def _by_instant(text: str) -> dict[str, str]:
    """Return an exposition for each instant: the parser reads several instants of a bucket as the same sample."""
    heads = [line for line in text.splitlines() if line.startswith("#")]
    found: dict[str, dict[str, list[str]]] = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("#"):
            family = line.split(" ")[2] if line != "# EOF" else ""
        else:
            found.setdefault(line.rpartition(" ")[2], {}).setdefault(family, []).append(line)
    return {at: "".join(f"{line}\n" for line in _under(heads, lines)) for at, lines in found.items()}


def _under(heads: Sequence[str], lines: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for head in heads:
        yield head
        if head.startswith("# TYPE"):
            yield from lines.get(head.split(" ")[2], ())


def test_samples_of_a_series_stand_in_a_row() -> None:
    """In the order of time, and each series once in the file: OpenMetrics lets none be interleaved."""
    seen: set[str] = set()
    series, stamp = "", 0
    for line in written("--step=20m").stdout.splitlines():
        if line.startswith("#"):
            continue
        name, _, at = line.rsplit(" ", 2)
        name = re.sub(r"_(bucket|count|sum)\{", "{", re.sub(r',?le="[^"]*"', "", name))
        if name != series:
            assert name not in seen
            seen.add(name)
            series, stamp = name, 0
        assert int(at) >= stamp
        stamp = int(at)
    assert len(seen) > 100


def test_a_file_a_day(tmp_path: Path) -> None:
    """In a folder each day has its file, the last instant at midnight is in that of its day; together they are all."""
    folder = tmp_path / "days"
    folder.mkdir()
    arguments = (f"--until={MIDNIGHT:%Y-%m-%d}", "--step=10m", f"--family={REQUESTS}")
    whole = CliRunner().invoke(main, ["history", "backfill", *arguments]).stdout
    result = CliRunner().invoke(main, ["history", "backfill", *arguments, f"--output={folder}"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["2025-03-01.om", "2025-03-02.om"]
    texts = [path.read_text() for path in folder.iterdir()]
    assert all(text.endswith("# EOF\n") for text in texts)
    assert sorted({line for text in texts for line in text.splitlines()}) == sorted(set(whole.splitlines()))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The existing output stays where the new one cannot be finished."""
    target = tmp_path / "past.om"
    target.write_text("before")
    with monkeypatch.context() as patched:
        patched.setattr(backfill, "END", None)
        assert written("--step=1h", f"--output={target}").exit_code
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["past.om"]
    assert written("--step=1h", f"--output={target}").exit_code == 0
    assert target.read_text().endswith("# EOF\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since=2025-03-02", "--until=2025-03-02"], "--since: 2025-03-02 00:00:00 is not before 2025-03-02 00:00"),
        (["--since=2025-03-02"], "is not before 2025-03-01 00:00:00 UTC, when this history was begun: give --until"),
        (["--until=2025-02-20"], "nothing of these families before 2025-02-20 00:00:00 UTC, its oldest row is of 2025"),
        (["--since=2025-03-05", "--until=2025-03-06"], "known after it: the last poll was at 2025-03-03 02:00:00 UTC"),
        (["--until=2025-03-03", "--step=7"], "Invalid value for '--step': has no unit: write 30s, 5m, 12h or 730d"),
        (["--until=2025-03-03", "--step=500ms"], "Invalid value for '--step': must be whole seconds, at least 1s"),
        (["--family=tableau_up"], "'tableau_up' cannot be backfilled; these can: tableau_http_requests_total,"),
        (["--label=job"], "Invalid value for '--label': 'job' is not of the form name=value, as in job=tableau"),
        (["--until=2025-03-03", "--label=__a=b"], "Invalid value for '--label': '__a=b' is not of the form name=value"),
        (["--until=2025-03-03", "--label=site=x"], "Invalid value for '--label': site is a label of these families"),
        (["--until=2025-03-03", "--label=le=x"], "Invalid value for '--label': le is a label of these families"),
        (["--until=2025-03-03", "--label=a=1", "--label=a=2"], "Invalid value for '--label': a is given twice"),
    ],
)
def test_what_is_refused(arguments: list[str], words: str) -> None:
    """Each is one line that names the remedy, and no output is written."""
    result = CliRunner().invoke(main, ["history", "backfill", *arguments])
    assert result.exit_code in {1, 2}
    assert result.stdout == ""
    assert len([line for line in result.stderr.splitlines() if words in line]) == 1
    assert "Traceback" not in result.stderr


def test_a_step_that_is_too_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So many samples in a row are for several files."""
    monkeypatch.setattr(backfill, "MOST_STEPS", 24)
    result = written("--step=1h")
    assert result.exit_code
    assert "--step: 51 samples of each series in one file, at most 24; give a longer one, or" in result.stderr
    assert written("--step=1h", f"--output={tmp_path}").exit_code == 0


def test_a_history_without_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command reports it."""
    path = tmp_path / "empty.duckdb"
    poll_hours(path, 0)
    monkeypatch.setenv("TABLEAU_EXPORTER_HISTORY__PATH", str(path))
    result = written()
    assert result.exit_code == 1
    assert result.stderr == "--until: the history holds nothing of these families before 2025-03-03 02:00:00 UTC\n"


def test_the_commands_of_the_document(polled: PolledHistory, tmp_path: Path) -> None:
    """docs/history.md makes blocks of a history."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), str(require("promtool").parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": programs}
    subprocess.run(["sh", "-e", "-c", block("docs/history.md", "backfill")], env=environment, check=True)
    # Two hours each: of the jobs before the first request, of two days, and of the last instant.
    assert len(list((tmp_path / "blocks").glob("*/meta.json"))) == 1 + 24 + 1


@pytest.fixture(scope="module")
def prometheus(polled: PolledHistory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Prometheus whose blocks promtool made of a backfill every five minutes; yield its address."""
    folder = tmp_path_factory.mktemp("prometheus")
    days, data = folder / "days", prometheus_data(folder)
    days.mkdir()
    environment = {"TABLEAU_EXPORTER_HISTORY__PATH": str(polled.path)}
    command = ["history", "backfill", f"--until={MIDNIGHT:%Y-%m-%d}", f"--output={days}", *LABELS]
    assert CliRunner().invoke(main, command, env=environment).exit_code == 0
    for path in sorted(days.iterdir()):
        subprocess.run(
            [require("promtool"), "tsdb", "create-blocks-from", "openmetrics", path, data],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    with run_prometheus(folder, "", "--storage.tsdb.retention.time=100y") as url:
        yield url


def ask(prometheus: str, expression: str) -> dict[frozenset[tuple[str, str]], float]:
    """Return Prometheus' answer at the end of yesterday, by labels."""
    question = urllib.parse.urlencode({"query": expression, "time": MIDNIGHT.timestamp()})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{question}") as answer:
        found = json.load(answer)["data"]["result"]
    return {frozenset(each["metric"].items()): float(each["value"][1]) for each in found}


def labelled(**labels: str) -> frozenset[tuple[str, str]]:
    """Return labels as Prometheus has them."""
    return frozenset({**{name: value for name, value in labels.items() if value}, **JOB}.items())


COUNTED = """
    SELECT
        coalesce(nullif(sites.url_namespace, ''), CASE WHEN sites.id IS NOT NULL THEN 'default' END, '') AS site,
        coalesce(controller, '') AS controller,
        coalesce(action, '') AS action,
        CASE WHEN requests.status BETWEEN 200 AND 599 THEN (requests.status // 100) || 'xx' ELSE 'unknown' END AS class,
        count(*) AS requests
    FROM http_requests AS requests
    LEFT JOIN latest_sites AS sites ON sites.id = requests.site_id
    WHERE coalesce(completed_at, requests.created_at + INTERVAL 1 DAY) > ?
        AND coalesce(completed_at, requests.created_at + INTERVAL 1 DAY) <= ?
    GROUP BY ALL
"""


@pytest.mark.parametrize("window", ["1d", "86400001ms"])
def test_the_increase_of_a_day_is_the_count_of_a_day(polled: PolledHistory, prometheus: str, window: str) -> None:
    """Of each series, in a real Prometheus, as SQL counts them; a series of which there were none has 0.

    A window that is a millisecond longer has the sample at its beginning also where windows are open there.
    """
    with duckdb.connect(str(polled.path), read_only=True) as connection:
        rows = connection.execute(COUNTED, [naive(YESTERDAY), naive(MIDNIGHT)]).fetchall()
    names = ("site", "controller", "action", "status_class")
    counted = {labelled(**dict(zip(names, row[:-1], strict=True))): row[-1] for row in rows}
    found = ask(prometheus, f"round(increase({REQUESTS}[{window}]), 0.001)")
    assert {labels: value for labels, value in found.items() if value} == counted
    assert len(counted) > 20
    assert ask(prometheus, f"sum(increase({REQUESTS}[{window}]))") == {
        frozenset(): pytest.approx(sum(counted.values()), abs=0.001)
    }


def test_durations_of_a_day(polled: PolledHistory, prometheus: str) -> None:
    """A histogram's count and its buckets grow by SQL's counts."""
    with duckdb.connect(str(polled.path), read_only=True) as connection:
        rows = connection.execute(
            "SELECT count(*), count(*) FILTER (epoch(completed_at - created_at) <= 5) FROM http_requests"
            " WHERE completed_at > ? AND completed_at <= ?",
            [naive(YESTERDAY), naive(MIDNIGHT)],
        ).fetchall()
    name = "tableau_http_request_duration_seconds"
    assert ask(prometheus, f"sum(increase({name}_count[1d]))") == {frozenset(): rows[0][0]}
    assert ask(prometheus, f'sum(increase({name}_bucket{{le="5.0"}}[1d]))') == {frozenset(): rows[0][1]}


def test_prometheus_has_the_series_of_the_agent(polled: PolledHistory, prometheus: str) -> None:
    """At an instant every series and value is the one of the agent's exposition, with the labels of the scrape."""
    live = polled.live[round(MIDNIGHT.timestamp())]
    found = ask(prometheus, '{__name__=~"tableau_.+"}')
    assert len(without_zeros(_as_written(found))) == len(live)
    assert sorted(without_zeros(_as_written(found)).values()) == pytest.approx(sorted(live.values()), rel=1e-9)


def _as_written(found: Mapping[frozenset[tuple[str, str]], float]) -> dict[str, float]:
    written = {}
    for labels, value in found.items():
        others = dict(sorted(labels))
        name = others.pop("__name__")
        assert JOB.items() <= others.items()
        written[f"{name}{{{','.join(f'{key}={json.dumps(text)}' for key, text in others.items())}}}"] = value
    return written
