"""YAML as text: nothing is guessed, nothing is repeated."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import ConfigurationError
from exporter.yaml_loader import parse

TREES = st.recursive(
    st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)

# 25 lists, each of which holds the one before twice.
BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
)


@pytest.mark.parametrize(
    "text",
    ["007", "2024-01-01", "no", "true", "1_000", "12:30", "0x_", "nullable", "never", "Norway", "~/x", "1e3", ".5"],
)
def test_a_value_stays_the_text_that_was_written(text: str) -> None:
    """Texts that YAML would turn into numbers, dates and booleans arrive unchanged."""
    assert parse(f"key: {text}", "name") == ({"key": text}, [])


@given(TREES)
def test_every_tree_of_texts_survives(tree: object) -> None:
    """Written YAML is read back unchanged."""
    assert parse(yaml.safe_dump(tree), "name") == (tree, [])


@pytest.mark.parametrize("nothing", ["", "~", "null", "# a comment"])
def test_a_key_without_a_value_is_left_out(nothing: str) -> None:
    """A section of which everything is commented out is as good as absent."""
    assert parse(f"a: {nothing}\nb: '~'\n", "name")[0] == {"b": "~"}


def test_an_empty_text_is_nothing() -> None:
    """A file of comments alone sets nothing."""
    assert parse("# nothing here\n", "name") == (None, [])


def test_a_key_given_twice_is_a_fault_with_its_path() -> None:
    """Each duplicate key is reported with both lines, at any depth."""
    faults = parse("a: 1\nb:\n  - c: 1\n    c: 2\na: 3\n", "name")[1]
    assert [str(fault) for fault in faults] == [
        "a: is given twice, in line 1 and in line 5",
        "b.0.c: is given twice, in line 3 and in line 4",
    ]


def test_a_tag_is_a_fault() -> None:
    """A value that YAML parses as a tag must be quoted."""
    faults = parse("password: !hunter2 x", "name")[1]
    assert [str(fault) for fault in faults] == [
        "password: has a YAML tag: put a value that starts with ! in quotes",
    ]


def test_an_alias_repeats_what_its_anchor_names() -> None:
    """A list can be written once and used twice."""
    assert parse("a: &x [1]\nb: *x\n", "name") == ({"a": ["1"], "b": ["1"]}, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML: line 1, column 5: expected the node content, but found '<stream end>'"),
        ("a:\n\tb: hunter2", "is no YAML: line 2, column 1: a tab: indent with blanks"),
        ("a: b: c", "is no YAML: line 1, column 5: mapping values are not allowed here"),
        ("a: %b", "is no YAML: line 1, column 4: found character '%' that cannot start any token"),
        ("a: *hunter2", "is no YAML: line 1, column 4: put a value that starts with *, & or ! in quotes"),
        ("a: !hunter2!x y", "is no YAML: line 1, column 4: put a value that starts with *, & or ! in quotes"),
        ("a: \x00hunter2", "is no YAML: special characters are not allowed"),
        ("a: 1\n---\nb: 1", "is no YAML: line 2, column 1: but found another document"),
        ("a: &x [*x]", "is nested too deeply"),
        ("[" * 5_000, "is nested too deeply"),
        ("? {hunter2: a}\n: b", "is no YAML: line 1, column 3: a key must be a text"),
        ("[" + "x, " * 20_000 + "]", "holds more than 20,000 values, with all aliases followed"),
        (BOMB, "holds more than 20,000 values, with all aliases followed"),
        ("#" * 1_000_001, "is longer than 1,000,000 characters"),
    ],
)
def test_what_is_no_yaml_says_where_and_repeats_nothing(text: str, message: str) -> None:
    """A text that cannot be read is one fault, with the place and without the words that stand there."""
    with pytest.raises(ConfigurationError) as error:
        parse(text, "name")
    assert str(error.value) == f"name: {message}"
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("number", ["00110000", "FFFFFFFF"])
def test_an_escape_beyond_unicode_is_a_fault(number: str) -> None:
    """PyYAML makes a character of any number; the fault is one line."""
    with pytest.raises(ConfigurationError, match=r"^name: has an escape .U that is no character$"):
        parse(f'"\\U{number}"', "name")
