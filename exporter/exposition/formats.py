"""How a family and a value are written in the text format 0.0.4 and in OpenMetrics 1.0.0.

Sample lines are the same bytes in both; only what stands above them differs.
"""

import math
import re

from prometheus_client.utils import floatToGoString

from exporter.metrics import Family

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_TEXT_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_OPENMETRICS_ESCAPES = _TEXT_ESCAPES | str.maketrans({'"': r"\""})


def text_head(family: Family) -> bytes:
    """Return the lines that stand above a family's samples in the text format."""
    return _head(family.name, family.type, family.help.translate(_TEXT_ESCAPES))


def openmetrics_head(family: Family) -> bytes:
    """Return the same in OpenMetrics, where the name of a counter lacks its suffix."""
    name = family.name.removesuffix("_total") if family.type == "counter" else family.name
    return _head(name, family.type, family.help.translate(_OPENMETRICS_ESCAPES))


def _head(name: str, kind: str, text: str) -> bytes:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n".encode("utf-8", "replace")


def bucket_texts(family: Family) -> list[str]:
    """Return the ``le`` label of each bucket of a histogram, the last of them ``+Inf``."""
    bounds = (*family.buckets, math.inf)
    return [f'le="{floatToGoString(bound)}"' for bound in bounds]  # type: ignore[no-untyped-call]


def number_text(value: object) -> str | None:
    """Return a value as both formats write it, or None where it is no finite number."""
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else None
    # A number beyond the floats would make Prometheus refuse the whole scrape.
    if isinstance(value, int) and abs(value) < 2**1023:
        return int.__repr__(value)
    return None


def fault_of(family: Family) -> str | None:
    """Return what is wrong with a declaration, in so far as no parser would read it."""
    if not _NAME.fullmatch(family.name):
        return "its name is not one of Prometheus"
    if not all(map(_LABEL.fullmatch, family.labels)) or len(set(family.labels)) < len(family.labels):
        return "its labels are not named as Prometheus asks"
    if family.type != "histogram":
        return None
    if "le" in family.labels:
        return "the label le belongs to the buckets"
    rising = all(low < high for low, high in zip(family.buckets, family.buckets[1:], strict=False))
    return None if rising and all(map(math.isfinite, family.buckets)) else "its buckets do not rise"
