"""A real Prometheus reads every form of the exposition, and finds its samples."""

import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from exporter.exposition import Exposition, Renderer
from exporter.metrics import Block, Family, HistogramBlock, Labels
from exporter.web.negotiation import OPENMETRICS, TEXT
from tests.support.prometheus import run_prometheus

NAMES = ["plain", 'quote " backslash \\ line\n', "return\r nul\0 separator\u2028 \u2603 \U0001f4ca", "a" * 5000]
USERS = Family("tableau_users", "gauge", "Users \0 \u2028.", ("site",))
LOGINS = Family("tableau_logins_total", "counter", "Logins.", ("site",))
SECONDS = Family("tableau_seconds", "histogram", "Seconds.", ("site",), buckets=(0.5, 7200.0))
FORMS = ("text", "text_gzip", "openmetrics", "openmetrics_gzip")
JOB = """\
- job_name: {form}
  metrics_path: /{form}
  scrape_interval: 200ms
  scrape_timeout: 200ms
  static_configs: [{{targets: ["{target}"]}}]
"""


def exposition() -> Exposition:
    """Render each type with odd names."""
    labels = Labels(("site",), [NAMES])
    blocks: list[Block | HistogramBlock] = [
        Block(USERS, labels, [1.5, 2**53, 1e-300, 1e16]),
        Block(LOGINS, labels, [1, 2, 3, 4]),
        HistogramBlock(SECONDS, labels, [[1, 2, 3]] * len(NAMES), [7.5] * len(NAMES)),
    ]
    return Renderer().render(blocks, 0.0)


@pytest.fixture
def target() -> Iterator[str]:
    """Serve each form of the exposition under its name."""
    rendering = exposition()

    class Handler(BaseHTTPRequestHandler):
        """Answers with the form that the path names."""

        def do_GET(self) -> None:
            """Answer a scrape."""
            form = self.path.removeprefix("/")
            self.send_response(200)
            self.send_header("Content-Type", OPENMETRICS if "openmetrics" in form else TEXT)
            if "gzip" in form:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(getattr(rendering, form))

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def prometheus(target: str, tmp_path: Path) -> Iterator[str]:
    """Run a Prometheus that scrapes the exposition; yield its address."""
    jobs = "".join(JOB.format(form=form, target=target) for form in FORMS)
    with run_prometheus(tmp_path, f"scrape_configs:\n{jobs}") as url:
        yield url


def ask(prometheus: str, expression: str, *, within: float = 90.0) -> dict[str | None, float]:
    """Query until there is an answer: the value of each site."""
    question = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(question) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            result = []
        if result:
            return {each["metric"].get("site"): float(each["value"][1]) for each in result}
        time.sleep(0.1)
    pytest.fail(f"Prometheus found nothing for {expression}")


def test_prometheus_reads_what_was_rendered(prometheus: str) -> None:
    """Every name arrives as it was, with its value, whatever the format and the compression."""
    for form in FORMS:
        job = f'job="{form}"'
        assert ask(prometheus, f"tableau_users{{{job}}}") == dict(zip(NAMES, [1.5, 2**53, 1e-300, 1e16], strict=True))
        assert ask(prometheus, f"tableau_logins_total{{{job}}}") == dict(zip(NAMES, [1, 2, 3, 4], strict=True))
        bucket = f'tableau_seconds_bucket{{{job},le=~"7200(.0)?"}}'
        assert ask(prometheus, bucket) == dict.fromkeys(NAMES, 3)
        assert ask(prometheus, f"tableau_seconds_sum{{{job}}}") == dict.fromkeys(NAMES, 7.5)
        assert ask(prometheus, f"up{{{job}}}") == {None: 1}
