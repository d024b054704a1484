"""Arguments of an export, by the flags of the command and by the configuration: checked before anything is opened.

Each check raises ValueError; no message repeats the text.
"""

from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from exporter.exports import DAILY_TEXT_FILES, TABLES, TEXT_FILES
from exporter.texts import UNSHOWN, safe_uri

S3 = frozenset({"s3", "s3a"})
AZURE = frozenset({"az", "abfs", "abfss"})
GOOGLE = frozenset({"gs", "gcs"})
LOCAL_FORMATS = frozenset({"text", "hyper"})
HYPER_SUFFIX = ".hyper"
SCHEMES = "there are s3://, abfss://, az://, gs:// and file://"


def parse_timezone(text: str) -> str:
    """Return the name of a time zone."""
    try:
        return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone of the IANA database, such as Europe/Berlin") from None


def parse_delimiter(text: str) -> str:
    """Return one character that may stand between two values."""
    if len(text) != 1 or text in '"\r\n\0':
        raise ValueError("is one character, neither a quote nor the end of a line")
    return text


def check_table(format_: str, table: str | None) -> None:
    """Refuse a table that a format does not have."""
    if format_ == "text":
        if table is not None and table not in TEXT_FILES:
            raise ValueError(f"the files of the format text are {', '.join(TEXT_FILES)}")
    elif table is None:
        raise ValueError("is missing")
    elif table not in TABLES:
        raise ValueError("only the format text knows it" if table in TEXT_FILES else "is no table of the history")


def tables_of(format_: str, table: str | None) -> tuple[str, ...]:
    """Return the tables that an export writes: every daily file where text names none."""
    return (table,) if table is not None else DAILY_TEXT_FILES if format_ == "text" else ()


def has_credentials(target: str) -> bool:
    """Whether a URI carries a user, a password or a query; the user of Azure's URIs is the container."""
    parts = urlsplit(target)
    return bool(parts.query or parts.password or (parts.username and parts.scheme not in AZURE))


def check_target(format_: str, target: str) -> None:
    """Refuse a target that the format cannot write, or that carries credentials."""
    if "://" not in target:
        return
    if safe_uri(target) == UNSHOWN:
        raise ValueError("must be a folder or a URI such as s3://bucket/folder")
    if has_credentials(target):
        raise ValueError("must carry no user, password or query: credentials come from the environment of the agent")
    scheme = urlsplit(target).scheme
    if scheme not in S3 | AZURE | GOOGLE | {"file"}:
        raise ValueError(f"has an unknown scheme; {SCHEMES}")
    if format_ in LOCAL_FORMATS and scheme != "file":
        raise ValueError(f"must be a folder: {format_} is not written to an object store")
