"""The families of this process."""

import os
from pathlib import Path

from exporter.exposition import Renderer
from exporter.exposition.process import Process
from tests.exposition.parsed import read_openmetrics, read_text


def test_this_process_is_part_of_both_formats() -> None:
    """The standard names and types, with the values of this process."""
    rendering = Renderer().render([], 0.0)
    for read in (read_text(rendering.text), read_openmetrics(rendering.openmetrics)):
        assert read["process_cpu_seconds"][0] == "counter"
        assert read["process_open_fds"][0] == "gauge"
        (memory,) = read["process_resident_memory_bytes"][2].values()
        assert memory > 1_000_000
    assert b"# TYPE process_cpu_seconds_total counter\n" in rendering.text
    assert b"# TYPE process_cpu_seconds counter\n" in rendering.openmetrics


def test_without_proc_there_is_nothing(tmp_path: Path) -> None:
    """Where the operating system has no value, the families are absent."""
    assert list(Process(str(tmp_path))()) == []


def test_a_limit_that_is_no_number_spoils_nothing(tmp_path: Path) -> None:
    """A value that prometheus_client cannot read costs these families at most, never the scrape."""
    (tmp_path / "stat").write_text("btime 1000\n")
    (tmp_path / "self" / "fd").mkdir(parents=True)
    (tmp_path / "self" / "stat").write_text("1 (python) " + " ".join(["1"] * 50))
    limits = tmp_path / "self" / "limits"
    for text in ("", "Max open files unlimited unlimited files\n"):
        limits.write_text(text)
        assert list(Process(str(tmp_path))()) == []
    limits.write_text(f"Max open files {os.getpid()} 1 files\n")
    assert "process_max_fds" in {block.family.name for block in Process(str(tmp_path))()}
