"""The exposition of many assets: what a rendering and a scrape cost, beside prometheus_client in the same run.

The agent's web server and its renderings are one process, each scraper is another, prometheus_client a third.
"""

import gc
import multiprocessing as processes
import resource
import statistics
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from socket import create_connection
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from benchmarks.estate import NOW, assets, blocks
from exporter.exposition import Exposition, Renderer
from exporter.exposition.process import release_memory
from exporter.exposition.series_limit import SeriesLimits
from exporter.web.application import application
from exporter.web.server import WebServer

SCRAPERS = 8
CONTEXT = processes.get_context("spawn")
RENDERINGS = ("new labels and values", "a new poll", "hours moved", "nothing moved")


@dataclass
class Served:
    """The endpoint of the web server: whatever was rendered last."""

    rendering: Exposition = field(default_factory=Exposition)

    def exposition(self) -> Exposition:
        """Return it."""
        return self.rendering

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - nothing else is asked for
        raise AssertionError(name)


def cost(begun: tuple[float, float] | None = None) -> tuple[float, float]:
    """Return seconds and processor seconds, since others or since ever."""
    wall, cpu = begun or (0.0, 0.0)
    return time.perf_counter() - wall, time.process_time() - cpu


def agent(pipe: Connection, count: int, small: bool, every: float) -> None:  # noqa: FBT001 - an argument of a process
    """Render and serve until told to stop; tell the port, what each kind of rendering cost, and the peak of memory."""
    served, renderer = Served(), Renderer(SeriesLimits(10**9, 10**9))
    server = WebServer(application(served), "127.0.0.1", 0)
    server.start()
    costs: dict[str, tuple[float, float]] = {}
    polls = [assets(count, poll=number) for number in range(3)]
    shown = blocks(polls[0], small=small)
    for name, now in zip(RENDERINGS, (0, 60, 75, 75), strict=True):
        if name == "a new poll":
            shown = blocks(polls[1], small=small)
        begun = cost()
        served.rendering = renderer.render(shown, NOW + now)
        costs[name] = cost(begun)
    release_memory()
    pipe.send((server.port, costs, len(served.rendering.text_gzip)))
    beside, number = [], 0
    while not pipe.poll(every):
        number += 1
        # As if there were a poll before each rendering: most of them have only the hours to move.
        shown = blocks(polls[number % 3], small=small)
        begun = cost()
        served.rendering = renderer.render(shown, NOW + 75 + 15 * number)
        release_memory()
        beside.append(cost(begun)[0])
    server.stop()
    pipe.send((beside, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def scraper(pipe: Connection, port: int, seconds: float, pause: float, offset: float) -> None:
    """Scrape for some seconds, in gzip over a kept connection, and tell how long each took.

    As with Prometheus, scrapes are due at fixed times behind an offset; ``pause`` is from one to the next.
    """
    request = (
        b"GET /metrics HTTP/1.1\r\nHost: agent\r\nAccept: text/plain;version=0.0.4\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    took, room = [], memoryview(bytearray(1 << 20))
    with create_connection(("127.0.0.1", port)) as connection:
        pipe.send("ready")
        pipe.recv()
        time.sleep(offset)
        due = time.perf_counter()
        end = due + seconds
        while (begun := time.perf_counter()) < end:
            connection.sendall(request)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1024)
            head, _, body = head.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(body)
            while left:
                left -= connection.recv_into(room, min(left, len(room)))
            took.append(time.perf_counter() - begun)
            due = max(due + pause, time.perf_counter())
            time.sleep(max(due - time.perf_counter(), 0.0))
    pipe.send(took)


class Theirs(Collector):
    """The same samples as prometheus_client takes them."""

    def __init__(self, count: int, *, small: bool) -> None:
        self._blocks = [(block, list(block.labels.rows())) for block in blocks(assets(count), small=small)]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield each family, made anew as a custom collector does."""
        made: dict[str, GaugeMetricFamily] = {}
        for block, rows in self._blocks:
            family = block.family
            new = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            metric = made.setdefault(family.name, new)
            for row, value in zip(rows, block.at(NOW), strict=True):  # type: ignore[union-attr] # assets have no histogram
                if value is not None:
                    metric.add_metric(row, value)
        yield from made.values()


def peer(pipe: Connection, count: int, small: bool) -> None:  # noqa: FBT001 - an argument of a process
    """Render the same with prometheus_client: the text format alone, neither OpenMetrics nor compressed."""
    registry = CollectorRegistry()
    registry.register(Theirs(count, small=small))
    gc.collect()
    begun = cost()
    generate_latest(registry)
    pipe.send(cost(begun))


def started(target: Any, *arguments: Any) -> tuple[Any, Connection]:  # noqa: ANN401
    """Start a process that has the other end of a pipe."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=target, args=(theirs, *arguments))
    process.start()
    return process, ours


def scraped(port: int, seconds: float, pause: float, apart: float) -> list[float]:
    """Have eight scrapers scrape that begin so many seconds apart; return how long each scrape took, in order."""
    scraping = [started(scraper, port, seconds, pause, number * apart) for number in range(SCRAPERS)]
    for _, each in scraping:
        each.recv()
    for _, each in scraping:
        each.send("go")
    took = sorted(one for _, each in scraping for one in each.recv())
    for process, _ in scraping:
        process.join()
    return took


def measure(count: int, arguments: Namespace, *, small: bool) -> dict[str, Any]:
    """Return what one run found; scrapers go on for three renderings each time."""
    every, pause, seconds = arguments.every, arguments.pause, 3.5 * arguments.every
    process, pipe = started(peer, count, small)
    theirs = pipe.recv()
    process.join()
    process, pipe = started(agent, count, small, every)
    port, costs, size = pipe.recv()
    # Who scrapes without a pause has no offset.
    apart = {"at offsets of their own": pause / SCRAPERS} if pause else {}
    ways = {**apart, "all at once": 0.0}
    scrapes = {when: scraped(port, seconds, pause, between) for when, between in ways.items()}
    pipe.send("stop")
    beside, peak = pipe.recv()
    process.join()
    return {
        "theirs": theirs,
        "costs": costs,
        "size": size,
        "scrapes": scrapes,
        "beside": beside,
        "peak": peak,
    }


def report(count: int, found: Sequence[dict[str, Any]]) -> None:
    """Print the medians of all runs."""
    middle = statistics.median
    print(f"\n{count:,} assets, {found[0]['size'] / 1e6:.1f} MB compressed; median of {len(found)} runs")
    print("| rendering | seconds | processor seconds | against prometheus_client |\n|---|---|---|---|")
    theirs = middle(run["theirs"][0] for run in found)
    print(f"| prometheus_client, text alone | {theirs:.2f} | {middle(run['theirs'][1] for run in found):.2f} | 1 |")
    for name in RENDERINGS:
        wall, cpu = (middle(run["costs"][name][at] for run in found) for at in (0, 1))
        ratio = middle(run["theirs"][0] / run["costs"][name][0] for run in found)
        print(f"| ours, all forms: {name} | {wall:.2f} | {cpu:.2f} | 1/{ratio:.1f} |")
    for run in found:
        for when, took in run["scrapes"].items():
            p50, p99 = (1000 * took[int(len(took) * part)] for part in (0.5, 0.99))
            print(
                f"{SCRAPERS} scrapers {when}, {len(took)} scrapes: median {p50:.0f} ms, 99th percentile {p99:.0f} ms,"
                f" longest {1000 * took[-1]:.0f} ms"
            )
        slowest = max(run["beside"], default=0.0)
        print(f"{len(run['beside'])} renderings beside them, the longest {slowest:.2f} s; peak {run['peak']:.0f} MB")
