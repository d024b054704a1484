"""The older tool's http_requests.txt, from its description: ``str()`` of each value and a delimiter after it.

Nothing is quoted, nothing escaped, NULL is ``None``, times are moved by a fixed number of hours.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from exporter.imports.dialect import COLUMNS, NEWER_NAMES

Request = Mapping[str, object]
BEGIN = datetime(2025, 1, 1, 12)  # noqa: DTZ001 - naive, as in the history


def request(number: int, **values: object) -> dict[str, object]:
    """Return a request as Tableau has it, one a second."""
    at = BEGIN + timedelta(seconds=number, microseconds=number % 1000)
    return {
        "controller": "vizql",
        "action": "bootstrapSession",
        "http_referer": f"https://tableau.example.com/views/Sales/Overview{number}",
        "http_user_agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Gecko/20100101",
        "http_request_uri": f"/vizql/w/Sales/v/Overview{number % 7}/bootstrapSession/sessions/{number}",
        "remote_ip": "10.1.2.3",
        "created_at": at,
        "session_id": f"S{number:06d}",
        "completed_at": at + timedelta(milliseconds=250),
        "port": 8001,
        "user_id": number % 50 or None,
        "worker": "10.0.0.1:8001",
        "vizql_session": f"{number:032X}-0:0",
        "user_ip": "10.9.8.7",
        "currentsheet": f"Sales/Overview{number % 7}",
        "site_id": 1,
    } | values


def line(values: Request, delimiter: str = "|", hours: int = 0) -> str:
    """Return a request as the tool wrote it."""
    shift = timedelta(hours=hours)
    moved = (value + shift if isinstance(value, datetime) else value for value in (values[name] for name in COLUMNS))
    return "".join(f"{value}{delimiter}" for value in moved) + "\n"


def written(
    requests: Iterable[Request], names: Sequence[str] = NEWER_NAMES, delimiter: str = "|", hours: int = 0
) -> str:
    """Return a whole file."""
    return delimiter.join(names) + "\n" + "".join(line(values, delimiter, hours) for values in requests)
