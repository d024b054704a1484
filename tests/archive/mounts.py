"""Disks of a test's own, mounted by root: one of a few megabytes, and a folder that becomes read-only in use."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.components import refuse

PAGE = 4096


class Disk:
    """A small disk; a file fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def leave(self, free: int) -> None:
        """Leave so many bytes free, rounded to whole pages; the room there is at most."""
        self.clear()
        taken = shutil.disk_usage(self.folder).free - free
        if taken > 0:
            with self._filling.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, (taken + PAGE - 1) // PAGE * PAGE)

    def clear(self) -> None:
        """Make room again."""
        self._filling.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """Mount a disk in memory."""
    folder.mkdir()
    _mount(folder, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs")
    try:
        yield Disk(folder)
    finally:
        _unmount(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only for every account, root too: it is mounted upon itself."""
    _mount(folder, "--bind", str(folder))
    try:
        _run("mount", "-o", "remount,ro,bind", str(folder))
        yield
    finally:
        _unmount(folder)


def _mount(folder: Path, *what: str) -> None:
    if os.geteuid() != 0:
        refuse("this test mounts disks of its own and needs root")
    if _run("mount", *what, str(folder)).returncode != 0:
        refuse("this test mounts disks of its own, and this machine does not let it (in a container: CAP_SYS_ADMIN)")


def _unmount(folder: Path) -> None:
    # A process that still uses it holds it until then.
    _run("umount", "--lazy", str(folder))


def _run(*command: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(command, check=False, capture_output=True)
