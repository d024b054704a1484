"""Files of the object store, by presigned addresses: each whole, or fetched again.

A transfer that was cut may look whole to HTTP. ETags show it where they are MD5s, as those of S3 are unless files are
encrypted by keys of a customer; else the end of the last line does.
"""

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from exporter.activity_log.errors import LinkExpired
from exporter.activity_log.http_client import CHUNK_BYTES, Answer, HTTPClient
from exporter.errors import SourceRefused

FILE_BYTES = 1_000_000_000
# What is larger waits on disk, without a name, until it is parsed.
SPOOLED_BYTES = 4_000_000
# A line that ends a file is longer than this, or ends within it.
END_BYTES = 4_096
_NO_LINK = frozenset({401, 403, 404, 410})
_MD5 = re.compile(r'"?[0-9a-f]{32}"?')


@dataclass
class Fetched:
    """What a file was when it was fetched last."""

    size: int = 0
    digest: str = ""


class ObjectStore:
    """Fetches files; several threads at a time."""

    def __init__(self, client: HTTPClient, folder: Path | None) -> None:
        self._client = client
        self._folder = str(folder) if folder else None
        self._has_md5_tags: bool | None = None

    def begin(self) -> None:
        """Begin a poll: which ETags the store has is found out anew."""
        self._has_md5_tags = None

    def fetch(self, url: str, last: Fetched) -> IO[bytes] | None:
        """Fetch a file; return nothing where it may lack its end, unless it came the same way before (``last``)."""
        content = tempfile.SpooledTemporaryFile(SPOOLED_BYTES, dir=self._folder)  # noqa: SIM115 - the caller's
        try:
            answer = self._client.fetch("GET", url, limit=FILE_BYTES, into=content)
            _refuse(answer, self._client.place(url))
            last.size = content.tell()
            if self._is_whole(content, answer.etag, last):
                content.seek(0)
                return content
        except BaseException:
            content.close()
            raise
        content.close()
        return None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _is_whole(self, content: IO[bytes], etag: str, last: Fetched) -> bool:
        """Check that a file is whole; the digest of one that is not known to be whole is noted in ``last``."""
        is_tagged = bool(_MD5.fullmatch(etag)) and self._has_md5_tags is not False
        if not is_tagged and _ends_whole(content):
            return True
        before, last.digest = last.digest, _digest(content)
        again = last.digest == before
        if is_tagged:
            if etag.strip('"') == last.digest:
                self._has_md5_tags = True
            elif self._has_md5_tags is None and again and _ends_whole(content):
                self._has_md5_tags = False
            else:
                return False
            return True
        return again


def _refuse(answer: Answer, place: str) -> None:
    """Raise a SourceError unless an answer is a file."""
    if answer.status in _NO_LINK:
        raise LinkExpired(f"{place}: HTTP {answer.status}: the address of a file has expired, or is forbidden")
    if answer.status != 200:
        raise SourceRefused(f"{place}: HTTP {answer.status} for a file")


def _ends_whole(content: IO[bytes]) -> bool:
    content.seek(max(content.tell() - END_BYTES, 0))
    end = content.read().rstrip()
    return not end or end.endswith(b"}")


def _digest(content: IO[bytes]) -> str:
    """Return the MD5 of a file, which is left at its end."""
    content.seek(0)
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := content.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
