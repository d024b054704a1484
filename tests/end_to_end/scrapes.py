"""Requests to the agent: once, all the time as Prometheus does, and by the command check."""

import subprocess
import threading
from collections.abc import Mapping
from typing import Self

import httpx

from tests.support.agent_process import Agent
from tests.support.program import run

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def by_labels(samples: Samples, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Return the samples of one name by the values of some labels; an absent label is empty."""
    return {
        tuple(dict(found).get(label, "") for label in labels): value
        for (sample, found), value in samples.items()
        if sample == name
    }


def counters(samples: Samples) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return all counters, but those that each process starts anew."""
    endings = ("_total", "_bucket", "_count", "_sum")
    return {
        key: value
        for key, value in samples.items()
        if key[0].startswith("tableau_") and key[0].endswith(endings) and key[0] != "tableau_series_dropped_total"
    }


def missing(agent: Agent) -> dict[str, set[str]]:
    """Return the missing families of each collector."""
    found: dict[str, set[str]] = {}
    name = "tableau_collector_missing_column"
    for collector, column in by_labels(agent.metrics(name), name, "collector", "column"):
        found.setdefault(collector, set()).add(column)
    return found


def check(agent: Agent) -> "subprocess.CompletedProcess[str]":
    """Run the command check with the agent's configuration."""
    return run("check", environment=agent.environment)


class Scraper:
    """Scrapes without a pause while the block lasts; ``silent`` has missing answers, ``fallen`` decreases."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.highest: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.scrapes = 0
        self.silent: list[str] = []
        self.fallen: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.05):
            try:
                samples = self._agent.metrics()
            except httpx.TransportError as error:
                self.silent.append(repr(error))
                continue
            self.scrapes += 1
            for key, value in counters(samples).items():
                if value < self.highest.get(key, 0):
                    self.fallen.append(f"{key}: {self.highest[key]} -> {value}")
                self.highest[key] = value
