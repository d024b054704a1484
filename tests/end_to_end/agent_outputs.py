"""Every output of an agent: its responses, its files, the output of its commands."""

import gzip
import os
import re
from collections.abc import Iterator

import duckdb
import httpx

from tests.support.agent_process import Agent
from tests.support.program import run
from tests.support.wait import PATIENCE_SECONDS

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
PAGES = ("/", "/assets", "/assets.csv", "/usage", "/usage.csv", "/-/healthy", "/-/ready", "/nothing")
_ASSET = re.compile(r'href="(/assets/[^"?#]+)"')


def served(agent: Agent) -> Iterator[tuple[str, bytes]]:
    """Yield the agent's responses, each with its path: the pages, one of an asset, and every exposition."""
    with httpx.Client(base_url=agent.url, auth=agent.user, timeout=PATIENCE_SECONDS) as client:
        for path in PAGES:
            yield path, client.get(path).content
        for path in _ASSET.findall(client.get("/assets").text)[:1]:
            yield "an asset's page", client.get(path).content
        yield "text", client.get("/metrics", headers={"Accept-Encoding": "identity"}).content
        yield "openmetrics", client.get("/metrics", headers=OPENMETRICS).content
        with client.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as answer:
            yield "gzip", gzip.decompress(b"".join(answer.iter_raw()))


def printed(agent: Agent, *arguments: str) -> bytes:
    """Run a command with the agent's configuration; return all that it prints."""
    done = run(*arguments, environment={**os.environ, **agent.environment})
    return (done.stdout + done.stderr).encode()


def stored(agent: Agent) -> Iterator[tuple[str, bytes]]:
    """Yield every file of the history's folder, the log among them, and every row: texts are compressed in the file."""
    for path in agent.folder.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes()
    with duckdb.connect(str(agent.history), read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        for (table,) in tables:
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
            yield f"table {table}", "\n".join(map(str, rows)).encode()
