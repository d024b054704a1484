"""A slow name server delays neither the next request nor the end of the program."""

import os
import subprocess
import sys
import threading

import pytest

from exporter.alerting.alertmanager import Alertmanager, AlertmanagerOptions, HostResolver
from tests.alerting.conftest import alert

# A resolver that never comes back: only a program that does not wait for it can end.
HANGING = """
import socket, threading
socket.getaddrinfo = lambda *_a, **_k: threading.Event().wait()
from exporter.alerting.alertmanager import Alertmanager, AlertmanagerOptions
from tests.alerting.conftest import alert
alertmanager = Alertmanager(AlertmanagerOptions("http://am.invalid:9093", timeout=0.5))
for _ in range(3):
    print(alertmanager.send([alert()]).failure, flush=True)
print(sum(thread.name == "lookup" for thread in threading.enumerate()))
"""


def test_a_resolver_that_hangs() -> None:
    """The deadline holds, one lookup at most is left behind, and the interpreter ends."""
    done = subprocess.run(
        [sys.executable, "-c", HANGING], check=True, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    first, second, third, abandoned = done.stdout.splitlines()
    assert "no whole answer within 0.5 s" in first
    assert "the name server has not answered since the last request" in second
    assert second == third
    assert abandoned == "1"


def test_a_resolver_that_answers_late() -> None:
    """As soon as the last lookup has come back, the next is made."""
    lookups, free = HostResolver(), threading.Event()
    held = lookups.submit(free.wait, 60)
    with pytest.raises(OSError, match="has not answered"):
        lookups.submit(int)
    free.set()
    assert held.result(60)
    assert lookups.submit(int, "7").result(60) == 7
    with pytest.raises(ZeroDivisionError):
        lookups.submit(lambda: 1 // 0).result(60)


def test_names_are_looked_up(plain: str) -> None:
    """An Alertmanager by name is notified repeatedly."""
    alertmanager = Alertmanager(AlertmanagerOptions(plain.replace("127.0.0.1", "localhost")))
    for _ in range(3):
        assert len(alertmanager.send([alert()]).accepted) == 1
