"""``systeminfo.xml`` of Tableau Server: the processes of the cluster, read with the session of a server administrator.

It is no part of the REST API: the token of the session comes as a cookie, refusals as XML or HTML with status 200.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from xml.parsers import expat

from exporter.errors import SourceIncomplete, SourceRefused
from exporter.inventory import ProcessState, SystemInfo
from exporter.rest.errors import NotFound, SessionLost
from exporter.rest.http_client import SYSTEM_INFO_PATH

if TYPE_CHECKING:
    from exporter.rest.session import RestSession

COOKIE = "workgroup_session_id"
MAX_PROCESSES = 20_000
"""A cluster of 50 nodes has 1,500; each costs two series."""
LONGEST_NAME = 200
_OK, _UNAUTHORIZED, _NOT_FOUND = 200, frozenset({401, 403}), 404
_ROOT, _ERROR = "systeminfo", "error"
# An error has a code and a summary or so.
_ERROR_TEXTS = 5
_PORT_DIGITS = 5
_LOGIN = "; check whether a proxy or a login page stands in between"
RIGHTS = (
    "the token's user must be a server administrator, and wgserver.systeminfo.allow_referrer_ips of Tableau Server,"
    " where it is set, must name this host"
)


def read_system_info(session: "RestSession") -> SystemInfo:
    """Fetch and parse it, with one request. Raises SourceError; the session is not signed in again for it."""
    transport = session.transport
    token = transport.server.auth_token if session.site is not None else None
    if token is None:
        raise SourceRefused(f"{session.place}: not signed in")
    url = f"{transport.server.server_address}{SYSTEM_INFO_PATH}"
    try:
        response = transport.send(lambda server: server.session.get(url, headers={"Cookie": f"{COOKIE}={token}"}))
    except SessionLost as error:
        raise SourceRefused(str(error)) from None
    place = f"{session.place}: {SYSTEM_INFO_PATH.lstrip('/')}"
    if response.status_code in _UNAUTHORIZED:
        raise SourceRefused(f"{place}: {response.status_code}: {RIGHTS}")
    if response.status_code == _NOT_FOUND:
        raise NotFound(f"{place}: {_NOT_FOUND}: Tableau Cloud has none; set rest.system_info to false")
    if response.status_code != _OK:
        raise SourceIncomplete(f"{place}: answers with HTTP {response.status_code}")
    return parse(response.content, place, transport.redactor.redact)


def parse(content: bytes, place: str, redact: Callable[[object], str] = str) -> SystemInfo:
    """Parse an answer. Raises SourceRefused where it is an error, SourceIncomplete where it is anything else."""
    reader = _Reader()
    try:
        reader.read(content)
    except (expat.ExpatError, ValueError, LookupError) as error:
        what = "a page of HTML" if b"<html" in content[:2000].lower() else f"no whole answer ({redact(error)})"
        raise SourceIncomplete(f"{place}: {what}{_LOGIN}") from None
    except _NotSystemInfo as error:
        raise SourceIncomplete(f"{place}: {error}") from None
    if reader.root == _ERROR:
        raise SourceRefused(f"{place}: refused ({redact(' '.join(reader.texts)) or 'no reason'}): {RIGHTS}")
    if not reader.processes:
        raise SourceIncomplete(f"{place}: lists no process")
    return SystemInfo(reader.processes, reader.service)


class _NotSystemInfo(Exception):
    """XML that is something else."""


class _Reader:
    def __init__(self) -> None:
        self.root = ""
        self.processes: list[ProcessState] = []
        self.service: str | None = None
        self.texts: list[str] = []
        self._path: list[str] = []
        self._node = ""

    def read(self, content: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        # Entities are a way to fill memory.
        parser.StartDoctypeDeclHandler = _refuse
        parser.Parse(content, True)  # noqa: FBT003 - expat's own

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        plain = name.rpartition(" ")[2]
        if not self._path:
            self.root = plain
            if plain not in {_ROOT, _ERROR}:
                what = "a page of HTML" if plain.lower() == "html" else "another document"
                raise _NotSystemInfo(f"{what}{_LOGIN}")
        elif self._path[-1] == "machine":
            self._add(plain, attributes)
        elif plain == "machine":
            self._node = attributes.get("name", "")
        elif plain == "service" and len(self._path) == 1:
            self.service = attributes.get("status")
        self._path.append(plain)

    def _add(self, process: str, attributes: Mapping[str, str]) -> None:
        host, _, port = attributes.get("worker", "").rpartition(":")
        port = port if port.isascii() and port.isdecimal() and len(port) <= _PORT_DIGITS else ""
        node = (self._node or host)[:LONGEST_NAME]
        if not node:
            return
        if len(self.processes) == MAX_PROCESSES:
            raise _NotSystemInfo(f"more than {MAX_PROCESSES:,} processes, which were not read to their end")
        self.processes.append(
            ProcessState(
                node,
                process[:LONGEST_NAME],
                port,
                attributes.get("status"),
                _number(attributes.get("pendingTransfers")),
                _number(attributes.get("failedTransfers")),
            )
        )

    def _end(self, _name: str) -> None:
        self._path.pop()

    def _characters(self, text: str) -> None:
        if self.root == _ERROR and len(self.texts) < _ERROR_TEXTS and text.strip():
            self.texts.append(text.strip()[:LONGEST_NAME])


def _refuse(*_declaration: object) -> None:
    raise _NotSystemInfo(f"a document with a type of its own{_LOGIN}")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 16 else None
