"""One way of reading a large Tableau, in a process of its own: prints its seconds, processor seconds and peak memory.

The server is the simulated one, in another process; what it costs is in every way's time.
"""

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import tableauserverclient as tsc

from exporter.demo.tableau.server import TOKENS
from exporter.inventory import Refresh
from exporter.rest.arrow import schema
from exporter.rest.client import RestClient, RestOptions, Token

NAME, VALUE = next(iter(TOKENS.items()))
PAGE_SIZE = 1000


def ours(url: str) -> int:
    """Poll everything: lists, owners, projects, the Metadata API, tasks; return the number of assets."""
    rest = RestClient(RestOptions(url, (), lambda: Token(NAME, VALUE)))
    found = 0
    for result in rest.poll(schema(Refresh).empty_table(), 0):
        if result.inventory is None or result.inventory.described is None or result.inventory.notes:
            raise SystemExit(f"{result.site}: {result.error or result.inventory}")
        found += result.inventory.content.num_rows
    rest.close()
    return found


def pager(url: str) -> int:
    """Go through the workbooks and data sources of every site, and do nothing with them."""
    server = tsc.Server(url, use_server_version=True)
    options = tsc.RequestOptions(pagesize=PAGE_SIZE)
    found = 0
    with server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id="")):
        for number, site in enumerate(tsc.Pager(server.sites)):
            if number:
                server.auth.switch_site(site)
            found += sum(1 for _ in tsc.Pager(server.workbooks, options))
            found += sum(1 for _ in tsc.Pager(server.datasources, options))
    return found


WAYS: dict[str, Callable[[str], int]] = {"ours, complete": ours, "bare Pager, two lists": pager}


@contextlib.contextmanager
def tableau(workbooks: int, datasources: int) -> Iterator[str]:
    """Run the simulated server; yield its URL."""
    command = [sys.executable, "-m", "exporter.demo.tableau", f"--workbooks={workbooks}"]
    command.append(f"--datasources={datasources}")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def measure(name: str, url: str) -> dict[str, float]:
    """Run one way in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.rest", name, url]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the way that the command line names."""
    name, url = sys.argv[1:]
    begun, cpu = time.perf_counter(), time.process_time()
    assets = WAYS[name](url)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"assets": assets, "seconds": seconds, "cpu": cpu, "peak_mb": peak}))


if __name__ == "__main__":
    main()
