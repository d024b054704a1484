"""Types of values: durations, sizes, secrets, addresses, paths. Each is parsed from text, of the file or environment.

No message repeats the text.
"""

import math
import os
import pwd
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, ValidationInfo

from exporter.alerting.notification import OF_ALERTS
from exporter.config.addresses import (
    PAGES,
    Endpoint,
    parse_host,
    parse_host_name,
    parse_listen_address,
    parse_url,
    parse_url_path,
)
from exporter.errors import ConfigurationError, Fault
from exporter.exports.arguments import parse_timezone
from exporter.units import parse_duration, parse_size

NEVER = math.inf  # no SLA


class Secret(SecretStr):
    """Text that prints ``<secret>``; ``get_secret_value()`` gives it away."""

    def __str__(self) -> str:
        return "<secret>"

    def __repr__(self) -> str:
        return "<secret>"


def from_text(parse: Callable[[str], object]) -> BeforeValidator:
    """Turn a parser of text into a validator."""

    def check(value: object) -> object:
        if isinstance(value, list | dict):
            raise ValueError("must be one value, not a list or a mapping")  # noqa: TRY004 - pydantic collects these
        return parse(value) if isinstance(value, str) else value

    return BeforeValidator(check)


def from_list(separator: str | None = None) -> BeforeValidator:
    """Accept one text in place of a list; with a separator, several texts."""

    def check(value: object) -> object:
        if not isinstance(value, str):
            return value
        return [part.strip() for part in value.split(separator) if part.strip()] if separator else [value]

    return BeforeValidator(check)


def from_synonyms(synonyms: Mapping[str, str]) -> BeforeValidator:
    """Replace some words by others before they are checked."""
    return from_text(lambda text: synonyms.get(text, text))


def between(low: str, high: str = "100y") -> AfterValidator:
    """Bound a duration."""

    def check(seconds: float) -> float:
        if seconds < parse_duration(low):
            raise ValueError(f"must be {low} or longer")
        if seconds > parse_duration(high) and seconds != NEVER:
            raise ValueError(f"must be {high} or shorter")
        return seconds

    return AfterValidator(check)


def at_least(low: str) -> AfterValidator:
    """Bound a size."""

    def check(size: int) -> int:
        if size < parse_size(low):
            raise ValueError(f"must be {low} or more")
        return size

    return AfterValidator(check)


def each_once(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a list with duplicates."""
    again = next((index for index, text in enumerate(texts) if text in texts[:index]), None)
    if again is not None:
        raise ValueError(f"has the same entry twice, at places {texts.index(texts[again])} and {again} (from 0)")
    return texts


def readable(path: Path) -> Path:
    """Refuse a file that cannot be read."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        raise ValueError(_unreadable(path, error)) from None
    return path


def history_path(path: Path) -> Path:
    """Refuse a path that DuckDB would not use as a file."""
    if str(path) in {"", "."}:
        raise ValueError("must not be empty or a folder: name a file")
    # The text behind it may be a URL with a password.
    if store := re.match(r":|[A-Za-z0-9_]+:", str(path)):
        raise ValueError(f"begins with {store[0]}, to DuckDB the name of another store: name a file")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8, which DuckDB needs: rename the file or folder") from None
    try:
        is_folder, is_other = path.is_dir(), path.exists() and not path.is_file()
    except OSError as error:  # such as a name that is too long
        raise ValueError(_unreadable(path, error)) from None
    if is_folder:
        raise ValueError(f"{path} is a folder: name a file in it")
    if is_other:
        raise ValueError(f"{path} is no regular file: name a file that DuckDB may make")
    return path


def read_secret(value: Secret | None, file: Path | None, path: str) -> str | None:
    """Return a secret as it is now, None where none is configured.

    Its file is read at each call, so that a rotated secret is used at once. ``path`` is the key that a fault names.
    """
    if file is None:
        return None if value is None else value.get_secret_value()
    try:
        return _read(file)
    except ValueError as error:
        raise ConfigurationError([Fault(path, str(error))]) from None


def no_twin(file: Path | None, info: ValidationInfo) -> Path | None:
    """Refuse a secret's file beside the secret itself; validates the field of the file."""
    name = (info.field_name or "").removesuffix("_file")
    if file is not None and info.data.get(name) is not None:
        raise ValueError(f"stands beside {name}: give one of the two")
    return file


def one_twin(file: Path | None, info: ValidationInfo) -> Path | None:
    """Refuse the absence of both a secret and its file; validates the field of the file."""
    name = (info.field_name or "").removesuffix("_file")
    if file is None and info.data.get(name, "") is None:
        raise ValueError(f"is missing: give {name} or {name}_file")
    return file


def no_page(path: str) -> str:
    """Refuse a path that the agent has for something else; the root is the one that may be replaced."""
    if path.split("/")[1].partition(".")[0] in PAGES and path != "/":
        raise ValueError("is the path of a page of the agent: choose another")
    return path


def _age(text: str) -> float:
    return NEVER if text.strip() == "never" else parse_duration(text)


def _secret_file(path: Path) -> Path:
    _read(path)
    return path


def _read(path: Path) -> str:
    """Return what a secret's file holds, without the newline at its end; raises ValueError."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise ValueError("cannot be read: it is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise ValueError(_unreadable(path, error)) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError("names an empty file")
    return text


def _listen_addresses(value: object) -> object:
    """Read one address or several, as a list or between commas."""
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, list):
        return value
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("must be an address or a list of them")
    found = tuple(parse_listen_address(text) for text in texts)
    return found[0] if len(found) == 1 else found


def _own_label(name: str) -> str:
    """Return the name of a label that is put on every alert."""
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) or name.startswith("__"):
        raise ValueError("is no label: letters, digits and _, no digit first, no __ first")
    if name in OF_ALERTS:
        raise ValueError("is a label that alerts have already")
    return name


def _event_type(name: str) -> str:
    """Return the name of a type of events, which stands in a URL."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ValueError("must be names such as vizql_http_request: letters, digits and _")
    return name


def _unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        closed = f"cannot be read: {path}: {error.strerror} for the user {_user()}"
        return f"{closed}: change its owner or mode, or those of a folder above"
    return f"cannot be read: {getattr(error, 'strerror', None) or 'this is no path'}"


def _user() -> str:
    """Return the name of the user of this process, or its number where it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Texts = Annotated[tuple[Text, ...], from_list(",")]
EventType = Annotated[Text, AfterValidator(_event_type)]
Globs = Annotated[tuple[Text, ...], from_list(), Field(min_length=1)]
SecretText = Annotated[Secret, Field(min_length=1)]
SecretFile = Annotated[Path, AfterValidator(_secret_file)]
ReadableFile = Annotated[Path, AfterValidator(readable)]
HistoryPath = Annotated[Path, AfterValidator(history_path)]

Timezone = Annotated[str, from_text(parse_timezone)]
Duration = Annotated[float, from_text(parse_duration)]
Interval = Annotated[Duration, between("1s")]
Timeout = Annotated[Duration, between("1ms", "1d")]
Age = Annotated[float, from_text(_age), between("1s")]
Size = Annotated[int, from_text(parse_size)]

Host = Annotated[Endpoint, from_text(parse_host)]
Hosts = Annotated[tuple[Host, ...], from_list(","), Field(min_length=1)]
ListenAddress = Annotated[Endpoint | tuple[Endpoint, ...], BeforeValidator(_listen_addresses)]
HostName = Annotated[str, from_text(parse_host_name)]
HostNames = Annotated[tuple[HostName, ...], from_list(",")]
Url = Annotated[str, from_text(parse_url)]
UrlPath = Annotated[str, from_text(parse_url_path)]
Labels = dict[Annotated[str, AfterValidator(_own_label)], Text]
Urls = Annotated[tuple[Url, ...], from_list(","), Field(min_length=1)]
