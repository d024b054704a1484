"""Publishing: files that are uploaded in pieces or within the call, and the data sources that they become."""

import threading
import uuid
from datetime import UTC, datetime
from typing import NamedTuple
from xml.etree import ElementTree as ET

from exporter.demo.tableau import errors, xml_writer
from exporter.demo.tableau.calls import Answer, Call
from exporter.demo.tableau.facts import Site
from exporter.demo.tableau.sessions import Session

CREATED = 201
HYPER = b"Hyper"
MEGABYTE = 1024 * 1024


class Published(NamedTuple):
    """A data source; ``content`` is its file."""

    luid: str
    project: str
    name: str
    content: bytes


class Publishing:
    """What has been published, by site (its content URL), project (its LUID) and name."""

    def __init__(self) -> None:
        self.published: dict[tuple[str, str, str], Published] = {}
        self._uploads: dict[tuple[str, str], bytearray] = {}
        self._lock = threading.Lock()

    def answer(self, call: Call, session: Session, site: Site) -> Answer:
        """Answer a call of one of the three kinds."""
        with self._lock:
            if call.kind == "upload":
                return self._begin(session)
            return self._append(call, session) if call.kind == "append" else self._publish(call, session, site)

    def _begin(self, session: Session) -> Answer:
        number = f"{len(self._uploads)}:{uuid.uuid4().hex}-1:0"
        self._uploads[session.site, number] = bytearray()
        return Answer(CREATED, _upload(number, 0))

    def _append(self, call: Call, session: Session) -> Answer:
        content = self._uploads.get((session.site, call.id or ""))
        if content is None:
            raise errors.no_upload()
        content += parts(call.body).get("tableau_file", b"")
        return Answer(200, _upload(call.id or "", len(content) // MEGABYTE))

    def _publish(self, call: Call, session: Session, site: Site) -> Answer:
        inside = parts(call.body)
        asked = ET.fromstring(inside.get("request_payload", b"<tsRequest/>")).find("{*}datasource")  # noqa: S314 - from this machine's own client
        if asked is None:
            raise errors.Refusal("400003", "Bad Request", "The request has no data source.")
        name, place = asked.get("name", ""), asked.find("{*}project")
        wanted = place.get("id") if place is not None else site.projects[0].luid
        project = next((project for project in site.projects if project.luid == wanted), None)
        if project is None:
            raise errors.no_project(wanted)
        key = (site.url, project.luid, name)
        before = self.published.get(key)
        if before is not None and call.query.get("overwrite") != "true":
            raise errors.conflict(name)
        content = self._content(call, session, inside)
        if not content.startswith(HYPER) or call.query.get("datasourceType") != "hyper":
            raise errors.not_published(f"{name}.{call.query.get('datasourceType')}")
        luid = before.luid if before is not None else str(uuid.uuid4())
        self.published[key] = Published(luid, project.luid, name, content)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        attributes = {
            "id": luid,
            "name": name,
            "contentUrl": "".join(filter(str.isalnum, name)),
            "type": "hyper",
            "createdAt": now,
            "updatedAt": now,
            "encryptExtracts": "false",
            "isCertified": "false",
            "useRemoteQueryAgent": "false",
        }
        belongs = (
            xml_writer.element("project", {"id": project.luid, "name": project.name}),
            xml_writer.element("owner", {"id": session.user}),
            "<tags/>",
        )
        return Answer(CREATED, xml_writer.document(xml_writer.element("datasource", attributes, *belongs)))

    def _content(self, call: Call, session: Session, inside: dict[str, bytes]) -> bytes:
        """Return the file, which a call brings with it where it was not uploaded before."""
        if (number := call.query.get("uploadSessionId")) is None:
            return inside.get("tableau_datasource", b"")
        content = self._uploads.pop((session.site, number), None)
        if content is None:
            raise errors.no_upload()
        return bytes(content)


def parts(body: bytes) -> dict[str, bytes]:
    """Return the contents of a multipart message by their names."""
    boundary, _, _ = body.partition(b"\r\n")
    found = {}
    for part in body.split(boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        found[name] = content.removesuffix(b"\r\n")
    return found


def _upload(number: str, megabytes: int) -> bytes:
    return xml_writer.document(xml_writer.element("fileUpload", {"uploadSessionId": number, "fileSize": megabytes}))
