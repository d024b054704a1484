"""A repository that accepts and never answers is down within the timeouts, and found again by itself."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.repository.client import Address
from tests.support.poller_harness import PollerHarness
from tests.support.reliability import Tally
from tests.support.soak import times
from tests.support.source import Source
from tests.support.tcp_proxy import Proxy

STATEMENT_SECONDS = 1.0


@pytest.fixture
def proxy(source: Source) -> Iterator[Proxy]:
    """A line to the repository."""
    with Proxy(str(source.parameters["host"]), int(source.parameters["port"])) as made:
        yield made


@pytest.fixture
def harness(source: Source, tmp_path: Path, proxy: Proxy) -> PollerHarness:
    """A poller behind the line."""
    made = PollerHarness(source.readonly, tmp_path / "history.duckdb")
    reach(made, addresses=(Address("127.0.0.1", proxy.port),))
    return made


def reach(harness: PollerHarness, **login: Any) -> None:
    """Reach the repository in another way."""
    harness.repository._options = replace(harness.repository._options, **login)


def refused(harness: PollerHarness, words: str) -> None:
    """Poll in vain with shorter timeouts than usual: it is down, and one line has the reason."""
    patient = harness.repository._options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("exporter.repository.session.GRACE_SECONDS", 0.2)
        patch.setattr("exporter.repository.session.CHECK_SECONDS", 0.2)
        reach(harness, statement_timeout=STATEMENT_SECONDS, connect_timeout=2.0)
        assert not harness.poll()
    harness.repository._options = patient
    assert not harness.up()
    assert all(words in error for error in harness.errors().values()), harness.errors()
    assert harness.errors()


@pytest.mark.fault(33)
@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_silent_at_connecting(sslmode: str, source: Source, harness: PollerHarness, proxy: Proxy) -> None:
    """A server that accepts and never answers is given up in time, and polled when it recovers."""
    source.requests(1, 10)
    proxy.silent_after = 0
    reach(harness, tls=(("sslmode", sslmode),))
    refused(harness, "timeout")
    proxy.silent_after = None
    reach(harness, tls=(("sslmode", "disable"),))
    harness.polled()
    assert harness.ids() == list(range(1, 11))
    harness.assert_once()


@pytest.mark.timeout(1200)
@pytest.mark.fault(33)
def test_silent_in_the_midst(source: Source, harness: PollerHarness, proxy: Proxy, tally: Tally) -> None:
    """Wherever in a poll the server falls silent, the poll ends in time, and the next one has everything once."""
    chance = random.Random(33)
    for run in range(times(4, 60)):
        source.run("TRUNCATE http_requests RESTART IDENTITY")
        source.requests(run * 10_000 + 1, run * 10_000 + 1000)
        proxy.silent_after, before = None, proxy.passed
        harness.polled(exact=True)
        whole = proxy.passed - before
        source.requests(run * 10_000 + 1001, run * 10_000 + 3000)
        proxy.silent_after = chance.choice((chance.randrange(whole), whole + 1000))
        refused(harness, "repository 127.0.0.1")
        proxy.silent_after = None
        harness.polled(exact=True)
        here = [number for number in harness.ids() if number > run * 10_000]
        tally.run(lost=3000 - len(set(here)), doubled=len(here) - len(set(here)))
        assert here == list(range(run * 10_000 + 1, run * 10_000 + 3001))
        harness.assert_once()
