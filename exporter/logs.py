"""Logs: one event, one line, on stderr, in logfmt or JSON; what the libraries log comes out in the same form."""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO
from urllib.parse import quote

import structlog

from exporter.texts import secret_pattern

FIRST_KEYS = ("ts", "level", "msg")

_BARE = re.compile(r'[^\s"=\\]+')
_NO_KEY = re.compile(r'[\s"=]|[^\x20-\x7e]')
# TSC is how tableauserverclient calls its logger.
_LIBRARIES = ("TSC", "asyncio", "httpcore", "httpx", "tableau", "tableauserverclient", "uvicorn", "urllib3")

# Its information is the URL of each request, and a presigned address is a secret.
_LOGS_URLS = ("httpx",)

Event = MutableMapping[str, Any]


class Redactor:
    """Replaces every registered secret by ``<secret>`` in every log line."""

    def __init__(self) -> None:
        self._secrets: frozenset[str] = frozenset()
        self._pattern = secret_pattern(())

    def hide(self, secret: str) -> None:
        """Keep this text out of the log from now on, also in its form inside a URL or inside quotes."""
        forms = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]} - {""}
        self._secrets |= forms
        self._pattern = secret_pattern(self._secrets)

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        """Turn every value of an event into plain values without secrets."""
        return {key: self._plain(value) for key, value in event.items()}

    def _plain(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {str(self._plain(str(key))): self._plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(inner) for inner in value]
        return self._pattern.sub("<secret>", str(value))


Configure = Callable[[str, str], Redactor]
"""Configures the logs by a level and a format; ``configure`` is one."""


def configure(
    level: str = "info",
    format: str = "logfmt",  # noqa: A002
    *,
    stream: TextIO | None = None,
    record: TextIO | None = None,
) -> Redactor:
    """Send all logs of this process to stderr, or to ``stream``; to ``record`` too, with information at any level.

    ``level`` is debug, info, warning or error; ``format`` is logfmt or json. A later call replaces an earlier one.
    """
    redactor = Redactor()
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("msg"),
            redactor,
            _in_order,
            to_json if format == "json" else to_logfmt,
        ],
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handlers = [_handler(stream or sys.stderr, level, formatter)]
    if record is not None:
        handlers.append(_handler(record, "info", formatter))
    _route(handlers)
    return redactor


def to_logfmt(_logger: object, _method: str, event: Event) -> str:
    """Render an event as ``key=value`` pairs; values that are no bare word are quoted and escaped as in JSON."""
    return " ".join(f"{_NO_KEY.sub('_', key)}={_word(value)}" for key, value in event.items())


def to_json(_logger: object, _method: str, event: Event) -> str:
    """Render an event as one JSON object."""
    return json.dumps(event, ensure_ascii=True, separators=(",", ":"))


def _word(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = json.dumps(value) if isinstance(value, dict | list) else str(value)
    if text.isprintable() and _BARE.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _in_order(_logger: object, _method: str, event: Event) -> Event:
    first = {key: event[key] for key in FIRST_KEYS if key in event}
    return first | {key: value for key, value in event.items() if key not in first}


def _handler(stream: TextIO, level: str, formatter: logging.Formatter) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.setLevel(level.upper())
    return handler


def _route(handlers: list[logging.Handler]) -> None:
    root = logging.getLogger()
    root.handlers[:] = handlers
    root.setLevel(min(handler.level for handler in handlers))
    logging.captureWarnings(capture=True)
    # A library's information is our debugging, and its debugging would show headers with tokens.
    quiet = logging.INFO if handlers[0].level == logging.DEBUG else max(logging.WARNING, root.level)
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _LIBRARIES]
    for name in {*names, *_LIBRARIES}:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        level = max(quiet, logging.WARNING) if name in _LOGS_URLS else quiet
        logger.setLevel(level if name in _LIBRARIES else logging.NOTSET)
