"""The files shipped beside the package: rules and their tests, dashboards, units, the chart.

``[tool.setuptools.data-files]`` in pyproject.toml is their only list: a checkout reads it, an installation has them.
"""

import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from exporter.errors import AssetsMissing, OutputUnwritable

CHECKOUT = Path(__file__).parents[1]
DISTRIBUTION = "tableau-exporter"
INSTALLED = f"share/{DISTRIBUTION}/"


def find(name: str) -> Path:
    """Return the path of a shipped file, such as ``alerts/tableau.rules.yml``. Raises AssetsMissing."""
    path = shipped().get(name)
    if path is None or not path.is_file():
        raise AssetsMissing(f"{name} is not part of this installation: install the whole package from its wheel")
    return path


def shipped() -> Mapping[str, Path]:
    """Return the path of each shipped file by its name, sorted."""
    project = CHECKOUT / "pyproject.toml"
    checkout = project.is_file() and (CHECKOUT / "alerts").is_dir()
    return dict(sorted((_of_checkout(project) if checkout else _of_installation()).items()))


def write(folder: Path) -> tuple[int, int]:
    """Write every shipped file below a folder; return the numbers of written and of unchanged files.

    A file with other content is never replaced: then nothing is written. Raises AssetsMissing, OutputUnwritable.
    """
    contents = {folder / name: path.read_bytes() for name, path in shipped().items()}
    if not contents:
        raise AssetsMissing("this installation has no assets: install the whole package from its wheel")
    try:
        written = {path: content for path, content in contents.items() if not _is_there(path, content)}
        for path, content in written.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
    except OSError as error:
        message = f"{error.filename or folder}: {error.strerror}; name another folder with --output"
        raise OutputUnwritable(message) from None
    return len(written), len(contents) - len(written)


def _is_there(path: Path, content: bytes) -> bool:
    if not path.exists():
        return False
    if path.is_file() and path.read_bytes() == content:
        return True
    message = f"{path}: is there with other content, nothing was written; move it away, or name another folder"
    raise OutputUnwritable(message)


def _of_checkout(project: Path) -> dict[str, Path]:
    places = tomllib.loads(project.read_text())["tool"]["setuptools"]["data-files"]
    return {
        f"{place}/{path.name}".removeprefix(INSTALLED): path
        for place, patterns in places.items()
        for pattern in patterns
        for path in CHECKOUT.glob(pattern)
    }


def _of_installation() -> dict[str, Path]:
    # The record of the installer covers a virtual environment, a user's own folder and the system's alike.
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    named = ((file.as_posix().rpartition(INSTALLED), file) for file in files)
    return {name: Path(str(file.locate())) for (_, found, name), file in named if found}
