"""The table of assets while Prometheus scrapes: how long a page takes, against the plainest loop over the same rows.

The agent's store, renderer, pages and web server run in one process, scrapers and reader in another, over loopback.
"""

import multiprocessing
import random
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa
from jinja2 import Environment

from exporter.collector import Context
from exporter.collectors.assets.metrics import expose
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.exposition import Exposition, Renderer
from exporter.exposition.state_store import StateStore, TimedBlocks
from exporter.pagedata.builder import PageData, PageDataBuilder
from exporter.pagedata.query_results import PageAnswers
from exporter.status import Status
from exporter.web.application import application
from exporter.web.server import WebServer

ENABLED = frozenset({"assets", "requests", "workbooks", "views"})
PLAIN = Environment(autoescape=True).from_string(
    "<table>{% for row in rows %}<tr>"
    "{% for cell in row.values() %}<td>{{ cell }}</td>{% endfor %}"
    "</tr>{% endfor %}</table>"
)
QUESTIONS = {
    "the first page": "/assets",
    "search": "/assets?q=sales+emea",
    "project and status": "/assets?project=Finance&status=Critical",
    "by hours, the last page": "/assets?sort=hours&order=desc&page=1000",
    "by name": "/assets?sort=name",
    "one asset": "/assets/workbook/w50000",
}


def promises(_asset: Mapping[str, Any]) -> tuple[float, float]:
    """Promise 12 and 24 hours of everything."""
    return 12.0, 24.0


def rows(count: int, now: float) -> pa.Table:
    """Return so many workbooks in 400 projects of 800 owners on four sites."""
    chance, at = random.Random(7), datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
    words = ("Sales", "Costs", "Orders", "Traffic", "Payroll", "Flights", "Ledger", "Visits")
    tops = ("Finance", "Web", "Operations", "People")
    return pa.Table.from_pylist(
        [
            dict.fromkeys(ARROW_SCHEMA.names)
            | {
                "site": f"site{number % 4}",
                "asset_type": "workbook",
                "asset_id": f"w{number}",
                "asset_name": f"{chance.choice(words)} {chance.choice(words)} {number}",
                "project": f"{chance.choice(tops)}/{chance.choice(['EMEA', 'APAC'])}/P{chance.randrange(50)}",
                "connection": "extract",
                "freshness_source": "repository",
                "last_refresh_at": at - timedelta(hours=chance.expovariate(1 / 10)),
                "consecutive_failures": 0,
                "suspended": False,
                "content_owner": f"user{chance.randrange(800)}",
            }
            for number in range(count)
        ],
        schema=ARROW_SCHEMA,
    )


class Agent:
    """What of the agent answers a request, of so many assets."""

    def __init__(self, count: int) -> None:
        self._now = time.time()
        self._rows = rows(count, self._now)
        self._blocks = tuple(expose(self._rows, Context({}, promises, now=self._now)))
        self._store = StateStore(["repository"], version="0", library="0", started_at=self._now)
        self._store.set_state("assets/0", TimedBlocks(self._blocks, self._now, float("inf")))
        self._maker = PageDataBuilder(PageAnswers(), self._store.firing, lambda _now: (self._rows, self._blocks))
        self._renderer = Renderer()
        self.render()

    def render(self) -> None:
        """Render everything, as the agent does every ten seconds."""
        now = time.time()
        blocks = list(self._store.blocks(now))
        self._rendering = self._renderer.render(blocks, now)
        begun = time.perf_counter()
        self._pages = self._maker.build(now, ENABLED, blocks)
        self.making_seconds = time.perf_counter() - begun

    def collectors(self) -> Mapping[str, bool]:
        """No collector is asked for."""
        return {}

    def exposition(self) -> Exposition:
        """Return the newest rendering."""
        return self._rendering

    def pages(self) -> PageData:
        """Return the pages."""
        return self._pages

    def ready(self) -> bool:
        """Return that it is."""
        return True

    def status(self) -> Status:
        """Return the status."""
        return self._store.summary(time.time(), None)

    def reload(self) -> None:
        """Do nothing."""


def serve(count: int, told: Connection) -> None:
    """Serve so many assets until told to end, rendering anew every ten seconds."""
    agent = Agent(count)
    server = WebServer(application(agent), "127.0.0.1", 0)
    server.start()
    told.send((server.port, agent.making_seconds))
    while not told.poll(10):
        agent.render()
    server.stop()


@contextmanager
def served(count: int) -> Iterator[tuple[str, float]]:
    """Run an agent in a process of its own; yield where it listens and how long it made pages."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(count, there))
    process.start()
    port, seconds = here.recv()
    yield f"http://127.0.0.1:{port}", seconds
    here.send(None)
    process.join()


@contextmanager
def scraping(url: str, scrapers: int, pause_seconds: float) -> Iterator[list[float]]:
    """Scrape with so many Prometheuses at once; yield how long each scrape took."""
    stopped, times = threading.Event(), list[float]()

    def scrape() -> None:
        request = urllib.request.Request(f"{url}/metrics", headers={"Accept-Encoding": "gzip"})
        while not stopped.is_set():
            begun = time.perf_counter()
            with urllib.request.urlopen(request) as answer:
                answer.read()
            times.append(time.perf_counter() - begun)
            stopped.wait(pause_seconds)

    threads = [threading.Thread(target=scrape) for _ in range(scrapers)]
    for thread in threads:
        thread.start()
    yield times
    stopped.set()
    for thread in threads:
        thread.join()


def plainly(table: pa.Table, address: str) -> int:
    """Answer the same question in the plainest way, a loop over rows, and make a page of it; return its size."""
    path, _, query = address.partition("?")
    asked, now = dict(parse_qsl(query)), time.time()
    words, project = asked.get("q", "").split(), asked.get("project", "")
    found = []
    for row in table.to_pylist():
        hours = (now - row["last_refresh_at"].replace(tzinfo=UTC).timestamp()) / 3600
        row |= {"hours": hours, "status": "Critical" if hours > 24 else "Warning" if hours > 12 else "Healthy"}
        text = " ".join(filter(None, map(row.get, ("asset_name", "project", "content_owner", "site")))).casefold()
        if not all(word in text for word in words) or asked.get("status", row["status"]) != row["status"]:
            continue
        if project and not f"{row['project']}/".startswith(f"{project}/"):
            continue
        if path in {"/assets", f"/assets/workbook/{row['asset_id']}"}:
            found.append(row)
    orders = {"hours": lambda row: row["hours"], "name": lambda row: row["asset_name"]}
    found.sort(key=orders.get(asked.get("sort", ""), lambda row: (row["status"], -row["hours"])))
    begin = (int(asked.get("page", "1")) - 1) * 100
    return len(PLAIN.render(rows=found[begin : begin + 100]))


def timed(ask: Any, times: int) -> list[float]:  # noqa: ANN401 - whatever can be called
    """Return how long each of so many calls took, in milliseconds."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        found.append((time.perf_counter() - begun) * 1000)
    return found


def fetch(address: str) -> None:
    """Fetch a page, all of it."""
    with urllib.request.urlopen(address) as answer:
        answer.read()


def measure(count: int, times: int, scrapers: int, pause_seconds: float) -> None:
    """Print what a page costs while so many scrapers scrape, and the same question asked of the peer."""
    table = rows(count, time.time())
    with served(count) as (url, making_seconds):
        fetch(f"{url}/assets")
        alone = {name: timed(lambda path=path: fetch(url + path), times) for name, path in QUESTIONS.items()}
        with scraping(url, scrapers, pause_seconds) as scrapes:
            time.sleep(1)
            beside = {name: timed(lambda path=path: fetch(url + path), times) for name, path in QUESTIONS.items()}
        plain = {name: timed(lambda path=path: plainly(table, path), 3) for name, path in QUESTIONS.items()}
    print(
        f"\nPages of {count:,} assets, {times} times each, over HTTP; beside them {scrapers} scrapers, each with"
        f" {pause_seconds:g} s between two scrapes"
        f" ({len(scrapes)} scrapes, median {statistics.median(scrapes) * 1000:.0f} ms)"
    )
    print("| page | alone, median ms | scraped, median ms | scraped, 95th ms | a plain loop, ms | scraped against it |")
    print("|---|---|---|---|---|---|")
    for name, found in beside.items():
        median, other = statistics.median(found), statistics.median(plain[name])
        worst = statistics.quantiles(found, n=20)[-1]
        print(
            f"| {name} | {statistics.median(alone[name]):.0f} | {median:.0f} | {worst:.0f} | {other:.0f} |"
            f" {median / other:.3f} |"
        )
    print(f"The columns that pages are made of took {making_seconds:.2f} s to make, once after each poll.")
