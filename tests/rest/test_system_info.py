"""systeminfo.xml as Tableau Server answers it, and every answer that is none."""

import pytest

from exporter.collectors.processes import expose
from exporter.errors import SourceError, SourceIncomplete, SourceRefused
from exporter.inventory import ProcessState
from exporter.rest.system_info import MAX_PROCESSES, parse
from tests.collectors.repositories import samples

PLACE = "rest https://tableau: admin/systeminfo.xml"
WHOLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<systeminfo>
  <machines>
    <machine name="north">
      <repository worker="north:8060" status="Active" preferred="true"/>
      <vizqlserver worker="north:9100" status="Busy"/>
      <vizqlserver worker="north:9101" status="Down"/>
      <filestore worker="north:9345" status="ReadOnly" pendingTransfers="4" failedTransfers="0" syncTimestamp=""/>
    </machine>
    <machine name="south">
      <hyper worker="[fd00::1]:8765" status="Unlicensed"><part worker="south:1" status="Down"/></hyper>
      <gateway worker="south" status="Active"/>
    </machine>
  </machines>
  <service status="Busy"/>
</systeminfo>
"""


def test_every_process_is_read() -> None:
    """With its node, its port, its status and the transfers of a file store."""
    info = parse(WHOLE, PLACE)
    assert list(info.processes) == [
        ProcessState("north", "repository", "8060", "Active"),
        ProcessState("north", "vizqlserver", "9100", "Busy"),
        ProcessState("north", "vizqlserver", "9101", "Down"),
        ProcessState("north", "filestore", "9345", "ReadOnly", 4, 0),
        ProcessState("south", "hyper", "8765", "Unlicensed"),
        ProcessState("south", "gateway", "", "Active"),
    ]
    assert info.service == "Busy"


def machine(inside: str, attributes: str = 'name="north"') -> bytes:
    """Return a document with one machine."""
    return f"<systeminfo><machines><machine {attributes}>{inside}</machine></machines></systeminfo>".encode()


def test_a_machine_without_a_name_is_that_of_its_workers() -> None:
    """A process of no node at all is left out."""
    info = parse(machine('<a worker="x:1" status="Active"/><b worker="2" status="Active"/>', ""), PLACE)
    assert list(info.processes) == [ProcessState("x", "a", "1", "Active")]
    assert info.service is None


@pytest.mark.parametrize("port", ["", "x", "-1", "123456", "\u0661"])
def test_what_is_no_port_is_none(port: str) -> None:
    """The label is absent."""
    (process,) = parse(machine(f'<a worker="north:{port}" status="Active"/>'), PLACE).processes
    assert process.port == ""


def test_names_are_bounded_and_escaped() -> None:
    """They come from outside."""
    name = "n" * 300
    (process,) = parse(machine('<a worker="x:1" status="Active"/>', f'name="{name}"'), PLACE).processes
    assert process.node == "n" * 200
    (process,) = parse(machine('<a worker="x:1" status="A"/>', 'name="a&quot;&#10;{}"'), PLACE).processes
    assert process.node == 'a"\n{}'


@pytest.mark.parametrize("count", ["x", "-1", "", "9" * 30, "1.5"])
def test_what_is_no_number_of_transfers_is_unknown(count: str) -> None:
    """It is not 0."""
    (process,) = parse(machine(f'<f worker="x:1" status="Active" pendingTransfers="{count}"/>'), PLACE).processes
    assert process.pending_transfers is None


def test_a_refusal_names_what_is_missing() -> None:
    """It comes as XML with status 200, and its texts are redacted."""
    answer = b"<error><code>1</code><summary>no right for s3cret</summary></error>"
    with pytest.raises(SourceRefused) as raised:
        parse(answer, PLACE, lambda text: str(text).replace("s3cret", "***"))
    line = str(raised.value)
    assert line.startswith(f"{PLACE}: refused (1 no right for ***): ")
    assert "server administrator" in line
    assert "wgserver.systeminfo.allow_referrer_ips" in line


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"<html><body><form/></body></html>", "a page of HTML"),
        (b"<!DOCTYPE html><html><p>unclosed</html>", "a document with a type of its own"),
        (b"<html><p>unclosed</html>", "a page of HTML"),
        (b'<tsResponse xmlns="http://tableau.com/api"><workbooks/></tsResponse>', "another document"),
        (WHOLE[:400], "no whole answer"),
        (b"", "no whole answer"),
        (b"null", "no whole answer"),
        (b"\x00\xff\xfe", "no whole answer"),
        (b"<systeminfo/>", "lists no process"),
        (machine(""), "lists no process"),
        (b'<?xml version="1.0" encoding="x-unknown"?><systeminfo/>', "no whole answer"),
        (
            b'<!DOCTYPE s [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><systeminfo>&b;</systeminfo>',
            "a document with a type of its own",
        ),
    ],
    ids=["html", "html5", "open-html", "rest", "cut", "empty", "null", "bytes", "bare", "no-process", "code", "bomb"],
)
def test_another_answer_is_none(answer: bytes, reason: str) -> None:
    """Nothing is concluded from it: one line with the reason."""
    with pytest.raises(SourceIncomplete) as raised:
        parse(answer, PLACE)
    assert str(raised.value).startswith(f"{PLACE}: {reason}")
    assert "\n" not in str(raised.value)


def test_a_large_cluster_is_whole() -> None:
    """50 nodes of 30 processes have a series each, and two hundred times as many are refused."""
    process = '<p{0} worker="n:{1}" status="Active"/>'
    inside = "".join(process.format(number % 10, 8000 + number) for number in range(30))
    nodes = "".join(f'<machine name="node{number}">{inside}</machine>' for number in range(50))
    info = parse(f"<systeminfo>{nodes}</systeminfo>".encode(), PLACE)
    up = samples(list(expose(info)), "tableau_server_process_up")
    assert (len(up), set(up.values())) == (1500, {1})
    with pytest.raises(SourceError, match=f"more than {MAX_PROCESSES:,} processes"):
        parse(machine('<a worker="n:1" status="Active"/>' * (MAX_PROCESSES + 1)), PLACE)
