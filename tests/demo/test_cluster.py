"""The cluster of the simulated Tableau Server: systeminfo.xml, its refusals, and the trouble of the demo."""

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest

from exporter.demo.tableau.cluster import PROCESSES, REFUSAL, Cluster, Trouble
from exporter.demo.tableau.server import TableauServer
from tests.demo.tableau import signed_in


def system_info(server: Any, *, header: str = "Cookie") -> httpx.Response:  # noqa: ANN401 - tableauserverclient is typed in part
    """Get systeminfo.xml with the token of a session."""
    value = f"other=1; workgroup_session_id={server.auth_token}" if header == "Cookie" else server.auth_token
    return httpx.get(f"{server.server_address}/admin/systeminfo.xml", headers={header: value})


def statuses(answer: bytes) -> dict[tuple[str, str], list[str | None]]:
    """Return the statuses of each process, by its name and worker."""
    found: dict[tuple[str, str], list[str | None]] = {}
    for machine in ET.fromstring(answer).iter("machine"):
        for element in machine:
            found.setdefault((element.tag, element.get("worker", "")), []).append(element.get("status"))
    return found


def test_every_process_is_listed(tableau: TableauServer) -> None:
    """Below its machine, with its worker and its status; the service stands beside."""
    with signed_in(tableau) as server:
        answer = system_info(server)
    assert answer.status_code == 200
    assert statuses(answer.content) == {(each.name, f"{each.node}:{each.port}"): [each.status] for each in PROCESSES}
    (service,) = ET.fromstring(answer.content).iter("service")
    assert service.get("status") == "Active"


def test_the_cookie_alone_is_known(tableau: TableauServer) -> None:
    """The header of the REST API is no proof, and a session that ended is none."""
    with signed_in(tableau) as server:
        assert system_info(server, header="X-Tableau-Auth").content == REFUSAL
        tableau.sessions.end_all()
        answer = system_info(server)
    assert (answer.status_code, answer.content) == (200, REFUSAL)


def test_it_is_refused_with_status_200(tableau: TableauServer) -> None:
    """To a user who is no server administrator."""
    tableau.failure_modes.forbidden = {"systeminfo"}
    with signed_in(tableau) as server:
        answer = system_info(server)
        assert server.workbooks.get()[0]
    assert (answer.status_code, answer.content) == (200, REFUSAL)


@pytest.mark.parametrize(
    ("failure_mode", "status", "inside"),
    [
        ("missing", 404, b"<html>"),
        ("html_login_page", 200, b"<form"),
        ("failing", 500, b"<html>"),
        ("nulls", 200, b"null"),
        ("garbage", 200, b"\x00\xff"),
    ],
)
def test_it_is_broken(tableau: TableauServer, failure_mode: str, status: int, inside: bytes) -> None:
    """As any other kind of answer."""
    setattr(tableau.failure_modes, failure_mode, {"systeminfo"})
    with signed_in(tableau) as server:
        answer = system_info(server)
    assert (answer.status_code, inside in answer.content) == (status, True)


def test_names_and_words_are_unknown(tableau: TableauServer) -> None:
    """Names change with the version, and so may words."""
    tableau.failure_modes.systeminfo_unknown = True
    with signed_in(tableau) as server:
        found = statuses(system_info(server).content)
    assert found["quantumserver", "node3:7000"] == ["Entangled"]
    assert found["quantumserver", "node3:7001"] == [None]


def test_a_process_is_listed_twice(tableau: TableauServer) -> None:
    """With the same port, and another status."""
    tableau.failure_modes.systeminfo_doubled = True
    with signed_in(tableau) as server:
        found = statuses(system_info(server).content)
    assert found["dataserver", "node3:9700"] == ["Active", "Down"]


def test_the_cloud_has_none(cloud: TableauServer) -> None:
    """There is no such page."""
    with signed_in(cloud) as server:
        assert system_info(server).status_code == 404


@pytest.mark.parametrize(
    ("at", "down", "nodes", "unlicensed"),
    [
        (0, 0, 3, 0),
        (61, 1, 3, 0),
        (121, 0, 3, 0),
        (181, 0, 2, 0),
        (241, 0, 3, 0),
        (301, 1, 3, 0),
        (361, 0, 3, 0),
        (421, 0, 3, 13),
        (481, 0, 3, 0),
    ],
)
def test_the_trouble_of_the_demo_comes_and_goes(at: float, down: int, nodes: int, unlicensed: int) -> None:
    """A process is down, a node is gone, the server is down, the licence has expired; between them all is well."""
    cluster = Cluster(trouble=Trouble(lambda: at, begun_at=0.0))
    found = statuses(cluster.document())
    words = [word for listed in found.values() for word in listed]
    assert (words.count("Down"), words.count("Unlicensed")) == (down, unlicensed)
    assert len({worker.partition(":")[0] for _, worker in found}) == nodes
    assert replace(cluster, trouble=None).document() == Cluster().document()
