"""SIGKILL at random steps of a poll of the Activity Log: the next poll completes what was left, once."""

import os
import random
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path
from types import FrameType

import pytest

from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.poller import activity_archiver, activity_poller
from tests.activity_log.conftest import NOW
from tests.activity_log.harness import ActivityHarness, assert_exactly_once
from tests.support.forked_process import ended
from tests.support.soak import times

# The steps of a poll whose order matters: calls into these.
WATCHED = ("exporter/poller/", "exporter/history/", "exporter/activity_log/")
SMALL_BATCH = 20


def small_steps(patch: pytest.MonkeyPatch) -> None:
    """Make a short past several windows, and each window several transactions."""
    patch.setattr(activity_poller, "RETAINED", timedelta(hours=9))
    patch.setattr(activity_poller, "WINDOW", timedelta(hours=4))
    patch.setattr(activity_archiver, "BATCH_FILES", SMALL_BATCH)


def poll(url: str, path: Path, steps: int, count: Path | None) -> None:
    """Poll, and kill this process at a step; or write down how many there are."""
    small_steps(pytest.MonkeyPatch())
    harness = ActivityHarness(url, path, NOW)
    done = 0

    def step(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal done
        if event == "call" and any(part in frame.f_code.co_filename for part in WATCHED):
            done += 1
            if done == steps:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(step)
    sys.setprofile(step)
    harness.poll()
    sys.setprofile(None)
    if count is not None:
        count.write_text(str(done), encoding="utf-8")


@pytest.mark.parametrize("seed", range(times(1, 70)))
def test_kills(
    cloud: CloudManager, files: ActivityFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Kills at three random steps leave a history that is whole each time, and in the end every event once."""
    small_steps(monkeypatch)
    assert ended(poll, cloud.url, tmp_path / "whole.duckdb", 0, tmp_path / "steps") == 77
    steps = int((tmp_path / "steps").read_text(encoding="utf-8"))
    chance, path = random.Random(seed), tmp_path / "history.duckdb"
    killed = 0
    for _ in range(3):
        killed += ended(poll, cloud.url, path, chance.randrange(1, steps), None) == -signal.SIGKILL
    harness = ActivityHarness(cloud.url, path, NOW)
    assert harness.poll()
    assert_exactly_once(harness, files)
    harness.close()
    assert killed >= 1
