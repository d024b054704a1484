"""Draws the pictures of docs/images/: ``make pictures``. For those who change a dashboard; no test needs it.

The committed JSON, the answers of a real Prometheus on the demo, Grafana's published components (from npm), a real
browser. They are not drawn by Grafana itself, as each picture notes. Needs some ten minutes, npm, chromium and
pngquant.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.grafana.dashboards import ROOT
from tests.grafana.pictures.query_results import collected
from tests.support.components import require

HERE = Path(__file__).parent
IMAGES = ROOT / "docs/images"
SHOWN_SECONDS = 400.0
NOTE = "Drawn from the committed JSON and the demo's data with Grafana's published components, not in Grafana"
BUNDLE = "--bundle --minify --outfile=drawn.js --define:global=window --loader:.svg=dataurl --loader:.woff2=dataurl"
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
WIDTH = 1520
STYLE = "*{box-sizing:border-box} body{margin:0;font:14px/1.57 Inter,sans-serif}"
PAGE = """<html><head><meta charset="utf-8"><style>{style}</style><link rel="stylesheet" href="drawn.css"></head>
<body><div id="root"></div><script>window.DRAWN = {drawn};</script><script src="drawn.js"></script></body></html>"""


def bundled(folder: Path) -> None:
    """Build the renderer: ``drawn.js`` and ``drawn.css``."""
    for name in ("package.json", "draw.tsx"):
        shutil.copy(HERE / name, folder)
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    define = '--define:process.env.NODE_ENV="production"'
    command = ["npx", "esbuild", "draw.tsx", *BUNDLE.split(), "--loader:.ttf=empty", "--log-level=error", define]
    subprocess.run(command, cwd=folder, check=True)


def pages(folder: Path, found: dict[str, Any]) -> dict[str, Path]:
    """Write a page for each dashboard."""
    written = {}
    for name, board in found["boards"].items():
        drawn = json.dumps({**found, "boards": None, "board": board, "note": NOTE}).replace("</", "<\\/")
        written[name] = folder / f"{name}.html"
        written[name].write_text(PAGE.format(style=STYLE, drawn=drawn), encoding="utf-8")
    return written


def shot(written: dict[str, Path]) -> None:
    """Save the picture of each page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(require("chromium")), args=FLAGS.split())
        for name, path in written.items():
            page = browser.new_page(viewport={"width": WIDTH, "height": 900})
            page.goto(path.as_uri())
            page.wait_for_selector("body[data-done]", timeout=120_000)
            drawn = page.locator("#drawn")
            box = drawn.bounding_box()
            assert box is not None
            # Parts out of sight are not drawn: the window becomes as high as the dashboard.
            page.set_viewport_size({"width": WIDTH, "height": int(box["height"]) + 1})
            page.wait_for_timeout(2000)
            drawn.screenshot(path=str(IMAGES / f"dashboard-{name}.png"))
            page.close()
            _small(IMAGES / f"dashboard-{name}.png")
        browser.close()


def _small(path: Path) -> None:
    """Bring a picture down to 256 colours: a repository keeps every picture for ever."""
    subprocess.run(["pngquant", "--force", "--output", path, "256", path], check=True)


def main() -> None:
    """Draw every dashboard; an argument is a file with answers that were collected before."""
    if shutil.which("pngquant") is None:
        sys.exit("pngquant is missing: apt-get install pngquant")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
        found = json.loads(given.read_text()) if given else collected(folder, SHOWN_SECONDS)
        bundled(folder)
        shot(pages(folder, found))


if __name__ == "__main__":
    main()
