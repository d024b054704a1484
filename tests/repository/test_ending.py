"""An end while the hosts of the repository are silent."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from exporter.errors import PollInterrupted
from exporter.repository.client import Address, RepositoryClient, RepositoryOptions

NEVER_SECONDS = 600.0


@pytest.fixture
def silent() -> Iterator[tuple[Address, ...]]:
    """Four hosts that accept and never answer."""
    with contextlib.ExitStack() as opened:
        listeners = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        yield tuple(Address("127.0.0.1", listener.getsockname()[1]) for listener in listeners)


def test_an_end_waits_for_no_silent_host(silent: tuple[Address, ...]) -> None:
    """Once the agent ends, an attempt under way is given up, and no other host is tried."""
    login = RepositoryOptions(silent, "workgroup", "readonly", lambda: None, (("sslmode", "disable"),), NEVER_SECONDS)
    repository = RepositoryClient(login)
    ending = threading.Event()
    repository.stopping = ending.is_set
    timer = threading.Timer(0.2, ending.set)
    timer.start()
    with pytest.raises(PollInterrupted, match=str(silent[0].port)), repository.session():
        pass
    timer.join()


def test_what_begins_after_the_end_is_short(silent: tuple[Address, ...]) -> None:
    """The last reading of an agent that ends does not wait for a silent host either."""
    login = RepositoryOptions(silent, "workgroup", "readonly", lambda: None, (("sslmode", "disable"),), NEVER_SECONDS)
    repository = RepositoryClient(login)
    repository.stopping = lambda: True
    with pytest.raises(PollInterrupted), repository.session():
        pass
