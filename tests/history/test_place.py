"""Where the history really is: a link, and a file system of another machine."""

from pathlib import Path

import pytest

from exporter.history.place import linked_to, network_file_system

MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
40 22 0:50 / /srv rw,relatime shared:1 - nfs4 filer:/srv rw,vers=4.2
41 40 254:1 / /srv/local rw,relatime - xfs /dev/vdb rw
42 22 0:51 / /mnt/my\040share rw - cifs //filer/share rw
43 22 0:52 / /mnt/keys rw - fuse.sshfs me@host: rw
44 22 0:53 / /mnt/auto rw - autofs /etc/auto.mnt rw
45 44 0:54 / /mnt/auto rw - nfs filer:/auto rw
46 22 0:55 / /mnt/disk rw - fuseblk /dev/sdb1 rw
47 22 0:56 / /mnt/covered rw - nfs filer:/old rw
48 47 254:2 / /mnt/covered rw - ext4 /dev/vdc rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """Return a list of mounts as Linux has it."""
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/history.duckdb", None),
        ("/srv/history.duckdb", "nfs4"),
        ("/srvs/history.duckdb", None),
        ("/srv/local/history.duckdb", None),
        ("/srv/locals/history.duckdb", "nfs4"),
        ("/mnt/my share/history.duckdb", "cifs"),
        ("/mnt/keys/a/b/history.duckdb", "fuse.sshfs"),
        ("/mnt/auto/history.duckdb", "nfs"),
        ("/mnt/disk/history.duckdb", None),
        ("/mnt/covered/history.duckdb", None),
    ],
)
def test_a_network_file_system_is_known_by_its_type(path: str, kind: str | None, mounts: Path) -> None:
    """The deepest mount above a path counts, and of several at one point the one that covers the others."""
    assert network_file_system(Path(path), mounts) == kind


def test_a_link_is_followed_to_its_file_system(tmp_path: Path, mounts: Path) -> None:
    """A path on a local disk may lead to another machine."""
    link = tmp_path / "history.duckdb"
    link.symlink_to("/srv/history.duckdb")
    assert network_file_system(link, mounts) == "nfs4"


def test_nothing_is_known_without_a_list_of_mounts(tmp_path: Path) -> None:
    """Elsewhere than on Linux there is none."""
    assert network_file_system(Path("/srv/history.duckdb"), tmp_path / "none") is None


def test_where_a_link_leads(tmp_path: Path) -> None:
    """The path itself may be a link, or a folder above it; other files lead nowhere else."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "folder").symlink_to(real)
    (tmp_path / "file").symlink_to(real / "history.duckdb")
    assert linked_to(real / "history.duckdb") is None
    assert linked_to(tmp_path / "folder" / "history.duckdb") == real / "history.duckdb"
    assert linked_to(tmp_path / "file") == real / "history.duckdb"
