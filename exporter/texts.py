"""Texts as a person reads them on a screen."""

import math
from collections.abc import Sequence

UNKNOWN = "unknown"


def one_line(value: object) -> str:
    """Return a text without the breaks of its lines."""
    return " ".join(str(value).split())


def visible(text: str) -> str:
    """Return a text whose every character can be seen: what moves a cursor or hides the next one is escaped."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, each column as wide as its widest cell: nothing is cut."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def span(seconds: float) -> str:
    """Write a span in the unit that suits it."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else coarse(seconds)


def coarse(seconds: float) -> str:
    """Write a span in its largest unit, and the next one where the count is small."""
    for unit, length, part, share in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        whole, rest = divmod(int(seconds), length)
        if whole:
            return f"{whole:,} {unit}" + (f" {rest // share} {part}" if whole < 10 and rest >= share else "")
    return f"{int(seconds)} s"
