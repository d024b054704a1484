"""What clients send and read: the header of basic authentication, and the text formats of the metrics."""

import base64

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser as text_parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from exporter.exposition.renderer import Renderer
from exporter.metrics import Block, Family, Labels
from exporter.web.middleware import _credentials
from tests.fuzz.cases import TEXTS, counted, fuzzed

HEADERS = st.text(st.characters(max_codepoint=255), max_size=60)
TOKENS = st.binary(max_size=40).map(lambda content: f"basic {base64.b64encode(content).decode()}")


@fuzzed()
@given(
    HEADERS
    | HEADERS.map("Basic {}".format)
    | st.binary(max_size=40).map(lambda c: f"basic {base64.b64encode(c).decode()}")
)
def test_the_header_of_basic_authentication(header: str) -> None:
    """Any header is credentials or none."""
    counted("basic-auth header")
    found = _credentials(header)
    if found is not None:
        user, password = found
        token = base64.b64decode(header.partition(" ")[2].strip())
        assert token == user.encode() + b":" + password
        assert ":" not in user


@fuzzed()
@given(st.text(st.characters(codec="utf-8", exclude_characters=":")), st.binary())
def test_credentials_arrive(user: str, password: bytes) -> None:
    """A user without a colon and a password of any bytes arrive as they were sent."""
    counted("basic-auth header")
    token = base64.b64encode(user.encode() + b":" + password).decode()
    assert _credentials(f"Basic {token}") == (user, password)


NAMES = TEXTS | st.sampled_from(["\\n", '\\"', '"} 1\nx 2', "a\\", "# HELP", "\x85", "\x0b"])


@fuzzed()
@given(NAMES, st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5, unique=True))
def test_names_of_strangers_in_the_exposition(text: str, labels: list[tuple[str, str]]) -> None:
    """Whatever a name is, both formats have one sample for it, with the very name."""
    counted("exposition escaping", len(labels))
    family = Family("tableau_fuzzed", "gauge", f"Some {text}.", ("site", "project"))
    columns = [[site for site, _ in labels], [project for _, project in labels]]
    made = Renderer().render([Block(family, Labels(family.labels, columns), [1.0] * len(labels))], 0.0)
    expected = {tuple(part for part in pair) for pair in labels}
    for families in (
        text_parser.text_string_to_metric_families(made.text.decode()),
        openmetrics_parser.text_string_to_metric_families(made.openmetrics.decode()),  # type: ignore[no-untyped-call]
    ):
        found = [sample for each in families for sample in each.samples if sample.name == family.name]
        assert {(sample.labels.get("site", ""), sample.labels.get("project", "")) for sample in found} == expected
        assert len(found) == len(labels)
