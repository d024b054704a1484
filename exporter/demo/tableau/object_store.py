"""The simulated object store: files of the Activity Log at presigned addresses, on a port of its own.

The other port stands for the other host of the real thing. Addresses, errors and headers are those of S3.
"""

import hashlib
import hmac
import secrets
import threading
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from exporter.demo.tableau.activity_files import ActivityFiles, File
from exporter.demo.tableau.calls import XML, Answer
from exporter.demo.tableau.cloud_failure_modes import CloudFailureModes
from exporter.demo.tableau.http_server import HttpServer, Request, Sent

BUCKET = "/platform-data"
NDJSON = "application/x-ndjson"
REMEMBERED = 20_000
# Headers that belong to the other host alone.
FOREIGN = ("x-tableau-session-token", "x-tableau-auth", "authorization", "cookie")
DATE = "%Y%m%dT%H%M%SZ"


class ObjectStore(HttpServer):
    """Answers presigned addresses; ``leaks`` are headers of other hosts that came in, ``signatures`` all it gave out.

    ``requests`` counts downloads by path, ``statuses`` by the status of their answer. In ``folder`` files are kept once
    they were made, so that a benchmark measures its client alone.
    """

    def __init__(
        self,
        files: ActivityFiles,
        failure_modes: CloudFailureModes,
        clock: Callable[[], datetime],
        port: int = 0,
        certificate: Path | None = None,
        key: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(port, certificate, key)
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.leaks: list[str] = []
        self.signatures: deque[str] = deque(maxlen=REMEMBERED)
        self._files = files
        self._failure_modes = failure_modes
        self._clock = clock
        self._folder = folder
        self._secret = secrets.token_bytes(32)

    def sign(self, path: str) -> str:
        """Return the address of a file, valid for a while."""
        date, seconds = self._clock().strftime(DATE), str(int(self._failure_modes.link_seconds))
        signature = self._signature(path, date, seconds)
        self.signatures.append(signature)
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"AKIASIMULATED/{date[:8]}/eu-central-1/s3/aws4_request",
            "X-Amz-Date": date,
            "X-Amz-Expires": seconds,
            "X-Amz-SignedHeaders": "host",
            "X-Amz-Signature": signature,
        }
        parameters = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"{self.url}{BUCKET}/{quote(path)}?{parameters}"

    def handle(self, request: Request) -> Sent:
        """Answer a download, under the failures on the wire."""
        failure_modes = self._failure_modes
        self.leaks += [name for name in FOREIGN if name in request.headers]
        path = unquote(urlsplit(request.target).path).removeprefix(f"{BUCKET}/")
        file = self._files.find(path)
        hit = failure_modes.touches("download", file.site.url if file else None)
        if hit and failure_modes.take("close_next"):
            self._count(path, 0)
            return Sent(None)
        answer = self._respond(request, path, file, hit=hit)
        self._count(path, answer.status)
        if not hit:
            return Sent(answer)
        self.stopped.wait(failure_modes.slow_seconds)
        if answer.status == 200 and failure_modes.take("short_length_next"):
            return Sent(answer, length=len(answer.body) * 2 // 3)
        return Sent(answer, cut=failure_modes.take("cut_next"), trickle_seconds=failure_modes.trickle_seconds)

    def _respond(self, request: Request, path: str, file: File | None, *, hit: bool) -> Answer:
        if request.method != "GET":
            return _error(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
        if request.target == f"{BUCKET}/elsewhere":
            return Answer(200, b'{"redirected":true}\n', NDJSON)
        failed = self._failed() if hit else None
        return failed or self._refusal(request, path, hit=hit) or self._object(file, hit=hit)

    def _failed(self) -> Answer | None:
        failure_modes = self._failure_modes
        waiting = (("Retry-After", failure_modes.retry_after),) if failure_modes.retry_after is not None else ()
        if failure_modes.take("throttle_next"):
            return _error(429, "SlowDown", "Please reduce your request rate.", waiting)
        if failure_modes.take("fail_next"):
            return _error(failure_modes.fail_status, "SlowDown", "Please reduce your request rate.", waiting)
        if failure_modes.take("redirect_next"):
            return Answer(302, b"", XML, (("Location", f"{self.url}{BUCKET}/elsewhere"),))
        return None

    def _object(self, file: File | None, *, hit: bool) -> Answer:
        failure_modes = self._failure_modes
        if file is None or (hit and failure_modes.take("missing_next")):
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        body = self._content(file)
        etag = ("ETag", f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
        if hit and body and failure_modes.take("truncated_next"):
            body = body[: len(body) * 2 // 3]
        return Answer(200, body, NDJSON, (etag,))

    def _content(self, file: File) -> bytes:
        failure_modes = self._failure_modes
        if self._folder is None or failure_modes.repeats or failure_modes.no_events:
            return self._files.content(file, repeats=failure_modes.repeats, no_events=failure_modes.no_events)
        kept = self._folder / file.path
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{threading.get_ident()}")
            part.write_bytes(self._files.content(file))
            part.replace(kept)
        return kept.read_bytes()

    def _refusal(self, request: Request, path: str, *, hit: bool) -> Answer | None:
        """Refuse an address that this store did not sign, or that it signed too long ago."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        date, seconds = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        if not hmac.compare_digest(query.get("X-Amz-Signature", ""), self._signature(path, date, seconds)):
            message = "The request signature we calculated does not match the signature you provided."
            return _error(403, "SignatureDoesNotMatch", message)
        if "authorization" in request.headers:
            return _error(400, "InvalidArgument", "Only one auth mechanism allowed.")
        valid_until = datetime.strptime(date, DATE) + timedelta(seconds=int(seconds))  # noqa: DTZ007 - as the clock
        if self._clock() >= valid_until or (hit and self._failure_modes.take("links_expired_next")):
            return _error(403, "AccessDenied", "Request has expired")
        return None

    def _signature(self, path: str, date: str, seconds: str) -> str:
        return hmac.new(self._secret, f"{path}\n{date}\n{seconds}".encode(), "sha256").hexdigest()

    def _count(self, path: str, status: int) -> None:
        self.requests[path] += 1
        self.statuses[status] += 1


def _error(status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Answer(status, f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode(), XML, headers)
