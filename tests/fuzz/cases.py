"""How long the parsers are fuzzed, and the inputs that several of them share.

In the suite the cases are few and the same each time; FUZZ_CASES makes them many, and others in every run.
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from exporter.errors import ExporterError

SECRET = "C4n4ryNob0dySh0uldSee"
COUNTED: Counter[str] = Counter()
LONGEST_MESSAGE = 2_000
_FEW = 40


def fuzzed(weight: float = 1.0) -> Callable[[Any], Any]:
    """Return the settings of a fuzz test; a heavy one has a smaller weight."""
    cases = int(os.environ.get("FUZZ_CASES", "0"))
    return settings(
        max_examples=max(5, int((cases or _FEW) * weight)),
        derandomize=not cases,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def counted(parser: str, cases: int = 1) -> None:
    """Count cases of a parser."""
    COUNTED[parser] += cases


def refusal(read: Callable[[], object], *errors: type[ExporterError]) -> str | None:
    """Return the message of a refusal by one of these errors; None where nothing was refused."""
    try:
        read()
    except errors as error:
        return str(error)
    return None


def is_one_line(text: str) -> bool:
    """Whether a message is one line of bounded length without the secret."""
    return len(text.splitlines()) <= 1 and len(text) <= LONGEST_MESSAGE and SECRET not in text


ODD = st.sampled_from(
    ["", " ", "\x00", "\n", "\r\n", "\t", "'", '"', "\\", "%", "%00", "\ufeff", "\u2028", "😀", "{", "]"]
)
TEXTS = st.text(max_size=20) | ODD | st.sampled_from(["-1", "1e999", "NaN", "9" * 400, "٣", "x" * 5_000])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Return bytes of which some parts are cut out, doubled or replaced."""
    content = whole
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(content)))
        end = min(len(content), begin + draw(st.integers(0, 12)))
        content = content[:begin] + draw(st.binary(max_size=8)) + content[end if draw(st.booleans()) else begin :]
    return content
