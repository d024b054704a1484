"""Build the parts of a release, or those that the command line names, into dist/."""

import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from release import chart, debian, distributions

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

PARTS: Mapping[str, Callable[[], object]] = {
    "distributions": lambda: distributions.build(ROOT, DIST),
    "chart": lambda: chart.pack(VERSION, DIST),
    "deb": lambda: debian.build(ROOT, VERSION, distributions.build(ROOT, DIST)[1], DIST, ROOT / "requirements/run.txt"),
}

if __name__ == "__main__":
    DIST.mkdir(exist_ok=True)
    for part in sys.argv[1:] or PARTS:
        print(part, PARTS[part]())
