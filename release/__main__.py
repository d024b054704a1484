"""Build a release, or the parts that the command line names, into dist/."""

import functools
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from release import archive, chart, checks, debian, distributions, image, sbom

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
LOCK = ROOT / "requirements/run.txt"
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@functools.cache
def _distributions() -> Sequence[Path]:
    return distributions.build(ROOT, DIST)


def _deb() -> Sequence[Path]:
    return (debian.build(ROOT, VERSION, _distributions()[1], DIST, LOCK),)


def _requirements() -> Sequence[Path]:
    return (shutil.copyfile(LOCK, DIST / f"tableau-exporter-{VERSION}-requirements.txt"),)


PARTS: Mapping[str, Callable[[], Sequence[Path]]] = {
    "distributions": _distributions,
    "requirements": _requirements,
    "chart": lambda: (chart.pack(VERSION, DIST),),
    "image": lambda: (image.pack(ROOT, VERSION, DIST),),
    "sbom": lambda: (sbom.write(VERSION, LOCK, DIST),),
    "deb": _deb,
}


def main(names: Sequence[str]) -> int:
    """Build parts, without names all of them with their checksums; return the exit code."""
    faults = [f"{name}: no part of a release: {', '.join(PARTS)}" for name in names if name not in PARTS]
    if faults := faults or ([] if names else list(checks.faults(ROOT, VERSION))):
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    obstacle = debian.obstacle()
    if obstacle and "deb" in names:
        print(f"deb: {obstacle}", file=sys.stderr)
        return 1
    if obstacle:
        print(f"deb: left out: {obstacle}")
    DIST.mkdir(exist_ok=True)
    parts = names or [name for name in PARTS if name != "deb" or not obstacle]
    built = [path for name in parts for path in PARTS[name]()]
    if not names:
        built.append(archive.write_checksums(DIST / "SHA256SUMS", built))
    for path in built:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
