"""One event, one line, no secrets."""

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from exporter.logs import Redactor, configure, to_json, to_logfmt
from exporter.texts import SHORT_SECRET

Configured = Callable[..., tuple[Redactor, io.StringIO]]


@pytest.fixture
def configured() -> Iterator[Configured]:
    """Logs that go to a text; afterwards everything is as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)

    def configured(level: str = "info", format: str = "logfmt") -> tuple[Redactor, io.StringIO]:  # noqa: A002
        stream = io.StringIO()
        return configure(level, format, stream=stream), stream

    yield configured
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_an_event_is_one_line_of_logfmt(configured: Configured) -> None:
    """Time, level and message come first; values are quoted where they must be."""
    _, stream = configured()
    structlog.get_logger().info("poll done", rows=3, seconds=0.5, mode="fast", site='a "b"', ok=True, error=None)
    ts, rest = stream.getvalue().split(" ", 1)
    assert re.fullmatch(r"ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", ts)
    assert rest == ('level=info msg="poll done" rows=3 seconds=0.5 mode=fast site="a \\"b\\"" ok=true error=null\n')


def test_an_event_is_one_object_of_json(configured: Configured) -> None:
    """The same keys in the same order, with their types."""
    _, stream = configured(format="json")
    structlog.get_logger().warning("poll failed", rows=3, hosts=("a", "b"), site="é\n")
    event = json.loads(stream.getvalue())
    assert list(event) == ["ts", "level", "msg", "rows", "hosts", "site"]
    assert (event["level"], event["msg"], event["rows"]) == ("warning", "poll failed", 3)
    assert (event["hosts"], event["site"]) == (["a", "b"], "é\n")


def test_a_record_has_more_than_the_terminal(configured: Configured) -> None:
    """Events retained for later begin with level info, at any printed level; neither has a secret."""
    configured()
    published, kept = io.StringIO(), io.StringIO()
    redactor = configure("error", stream=published, record=kept)
    redactor.hide("hunter2")
    log = structlog.get_logger()
    log.debug("debugging hunter2")
    log.info("listening hunter2")
    log.error("failed hunter2")
    assert [line.split(" msg=")[1] for line in published.getvalue().splitlines()] == ['"failed <secret>"']
    reported = [line.split(" msg=")[1] for line in kept.getvalue().splitlines()]
    assert reported == ['"listening <secret>"', '"failed <secret>"']


@pytest.mark.parametrize("render", [to_logfmt, to_json])
@given(event=st.dictionaries(st.text(), st.text() | st.lists(st.text()) | st.integers() | st.none() | st.booleans()))
def test_whatever_is_logged_stays_one_printable_line(
    render: Callable[[object, str, dict[str, object]], str], event: dict[str, object]
) -> None:
    """No value breaks a line, moves the cursor or colours the terminal."""
    line = render(None, "info", event)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    line.encode()


@given(value=st.text())
def test_a_value_of_logfmt_can_be_read_back(value: str) -> None:
    """A quoted value is escaped as in JSON, a bare one needs no escape."""
    text = to_logfmt(None, "info", {"key": value}).removeprefix("key=")
    assert (json.loads(text) if text.startswith('"') else text) == value


@pytest.mark.parametrize(
    ("level", "published"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_a_level_leaves_out_what_is_below(configured: Configured, level: str, published: list[str]) -> None:
    """Only events of the level and above are written."""
    _, stream = configured(level)
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    assert re.findall(r"msg=(\w+)", stream.getvalue()) == published


def test_libraries_log_in_the_same_form(configured: Configured) -> None:
    """An event of the standard library has the same keys, and the name of its logger."""
    _, stream = configured(format="json")
    logging.getLogger("uvicorn.error").warning("port %d\nin use", 10071)
    event = json.loads(stream.getvalue())
    assert list(event) == ["ts", "level", "msg", "logger"]
    assert (event["level"], event["msg"], event["logger"]) == ("warning", "port 10071\nin use", "uvicorn.error")


@pytest.mark.parametrize(("level", "published"), [("info", ["WARNING"]), ("debug", ["INFO", "WARNING"])])
def test_libraries_never_show_their_debugging(configured: Configured, level: str, published: list[str]) -> None:
    """A library's level info is our debug; its debug level would print headers."""
    logging.getLogger("httpcore.connection").setLevel(logging.DEBUG)
    _, stream = configured(level)
    for name in ("DEBUG", "INFO", "WARNING"):
        logging.getLogger("httpcore.connection").log(getattr(logging, name), name)
    assert re.findall(r"msg=(\w+)", stream.getvalue()) == published


def test_libraries_lose_their_own_handlers(configured: Configured) -> None:
    """uvicorn's own handlers do not write a second line."""
    logger, other = logging.getLogger("uvicorn.access"), io.StringIO()
    logger.addHandler(logging.StreamHandler(other))
    _, stream = configured()
    logger.error("once")
    assert stream.getvalue().count("once") == 1
    assert other.getvalue() == ""


def test_warnings_of_python_are_logged(configured: Configured) -> None:
    """A warning is an event, not a text between the lines."""
    _, stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "level=warning" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_an_exception_is_part_of_its_line(configured: Configured) -> None:
    """A traceback does not break the line, and secrets in it are hidden."""
    redactor, stream = configured()
    redactor.hide("hunter2")
    try:
        int("hunter2")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("other").exception("failed too")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "base 10: '<secret>'" in line
        assert "hunter2" not in line


class Shown:
    """An object whose text has a secret."""

    def __repr__(self) -> str:
        return "Shown(hunter2)"


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_a_hidden_secret_is_in_no_value(configured: Configured, format: str) -> None:  # noqa: A002
    """In the message, in values of any shape, in the arguments of libraries."""
    redactor, stream = configured(format=format)
    redactor.hide("hunter2")
    redactor.hide("")
    structlog.get_logger().info(
        "hunter2!", text="a hunter2", deep={"hunter2": ["hunter2", ("hunter2",)]}, published=Shown(), raw=b"hunter2"
    )
    logging.getLogger("other").warning("password=%s", "hunter2")
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("<secret>") == 8


@given(secret=st.text(min_size=SHORT_SECRET), before=st.text(), after=st.text())
def test_any_secret_is_hidden(secret: str, before: str, after: str) -> None:
    """With any secret, the rest of a masked value does not hold it."""
    redactor = Redactor()
    redactor.hide(secret)
    value = redactor(None, "info", {"key": f"{before}{secret}{after}"})["key"]
    assert not any(secret in part for part in value.split("<secret>"))


@given(secret=st.text(min_size=1, max_size=SHORT_SECRET - 1), around=st.sampled_from([" ", "'", ":", "@", "=", "/"]))
def test_any_short_secret_is_hidden(secret: str, around: str) -> None:
    """A short secret is hidden wherever it is a word, whatever it is made of."""
    redactor = Redactor()
    redactor.hide(secret)
    value = redactor(None, "info", {"key": f"{around}{secret}{around}"})["key"]
    assert "<secret>" in str(value)
    assert f"{around}{secret}{around}" not in str(value)


def test_a_short_secret_hides_no_other_word() -> None:
    """Words that a short secret is part of can be read; the secret itself, in a URL and in quotes too, cannot."""
    redactor = Redactor()
    redactor.hide("ro")
    text = r"role readonly from_ro: wrong password 'ro', ro:ro@db, u%3Aro%40db, \nro\n"
    assert redactor(None, "info", {"key": text})["key"] == (
        r"role readonly from_ro: wrong password '<secret>', <secret>:<secret>@db, u%3A<secret>%40db, \n<secret>\n"
    )


def test_a_secret_is_hidden_in_its_other_forms() -> None:
    """A secret in a URL or in quotes is escaped and still the secret."""
    redactor = Redactor()
    redactor.hide('p/w "1"\n')
    texts = ["postgresql://me:p%2Fw%20%221%22%0A@db", repr('p/w "1"\n'), json.dumps('p/w "1"\n')]
    assert redactor(None, "info", {"texts": texts})["texts"] == [
        "postgresql://me:<secret>@db",
        "'<secret>'",
        '"<secret>"',
    ]


def test_the_longest_secret_is_hidden_first() -> None:
    """A secret that starts with another leaves no rest behind."""
    redactor = Redactor()
    redactor.hide("abc")
    redactor.hide("abcdef")
    assert redactor(None, "info", {"key": "abcdef abc"})["key"] == "<secret> <secret>"


def test_a_later_call_replaces_an_earlier_one(configured: Configured) -> None:
    """Configuring twice, as a reload does, writes each event once and in the newer form."""
    _, first = configured()
    _, second = configured(format="json")
    structlog.get_logger().info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1
