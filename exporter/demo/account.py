"""Which account of the operating system runs the embedded PostgreSQL: PostgreSQL refuses to run as root."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import DemoError

# The first one with the fewest rights; every Linux and macOS has at least one of them.
CANDIDATES = ("nobody", "daemon", "postgres")


@dataclass(frozen=True)
class Account:
    """An account that processes are started as; no uid means the account that runs this process."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def choose(cls) -> "Account":
        """Stay who we are, or become an account without rights when we are root."""
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
        """Tell whether this account may use a folder or run a program; asks the kernel, not the mode bits."""
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
