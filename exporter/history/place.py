"""Where the history really is: behind a link, or on a file system of another machine."""

import os
import re
from pathlib import Path

import structlog

log = structlog.get_logger()

MOUNTINFO = Path("/proc/self/mountinfo")

NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb2", "smb3", "smbfs"),
        *("fuse.blobfuse", "fuse.blobfuse2", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys"),
        *("fuse.juicefs", "fuse.mountpoint-s3", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs"),
    }
)
UNRELIABLE = "locks and fsync are not reliable there, and DuckDB needs both: put history.path on a local disk"

_ESCAPED = re.compile(r"\\([0-7]{3})")


def linked_to(path: Path) -> Path | None:
    """Return which file a path leads to, where the path or a folder above it is a symbolic link."""
    real = Path(os.path.realpath(path))
    return None if str(real) == os.path.normpath(path.absolute()) else real


def network_file_system(path: Path, mountinfo: Path = MOUNTINFO) -> str | None:
    """Return the type of the file system that a path is on, where it is one of another machine.

    ``mountinfo`` lists the mounts as proc(5) has them; where there is no such list, nothing is known.
    """
    real = Path(os.path.realpath(path))
    try:
        lines = mountinfo.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    found, depth = "", 0
    for line in lines:
        mount, _, rest = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), mount.split()[4]))
        # The deepest mount counts; of several at one point the last, which covers the others.
        if real.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = rest.partition(" ")[0], len(point.parts)
    return found if found in NETWORK_FILE_SYSTEMS else None


def log_place(path: Path, mountinfo: Path = MOUNTINFO) -> None:
    """Log the real place of the history where its path is a link or on a network."""
    if real := linked_to(path):
        log.info("history.path is behind a link", path=str(path), file=str(real))
    if kind := network_file_system(path, mountinfo):
        log.warning("the history is on a network file system", path=str(path), type=kind, advice=UNRELIABLE)
