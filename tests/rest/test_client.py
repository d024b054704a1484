"""The source as a whole: its sites, dependent failures, and lists that fell to nothing."""

import threading

import pytest

from exporter.errors import SourceRefused, SourceUnreachable
from exporter.rest import transport
from exporter.rest.client import SiteResult
from tests.rest.conftest import RestHarness
from tests.rest.tableau import HEAD, HTML, Answer, Override, Tableau, at, element, error

DAY_SECONDS = 86_400.0


def whole(results: dict[str, SiteResult]) -> dict[str, bool]:
    """Return whether each site has an inventory."""
    return {site: result.inventory is not None for site, result in results.items()}


def test_every_site_that_may_be_seen(three: RestHarness) -> None:
    """Without configured sites all are read; each inventory has its own assets alone."""
    results = three.poll(three.rest())
    assert list(results) == ["default", "marketing", "Finance"]
    for site, result in results.items():
        assert result.inventory is not None
        assert result.inventory.site == site
        own = {f"{'' if site == 'default' else site}{kind}1" for kind in "wdf"}
        assert set(result.inventory.content.column("asset_id").to_pylist()) == own


def test_configured_sites(three: RestHarness) -> None:
    """Only those are read, in their order; case does not matter, and labels have the case that Tableau has."""
    results = three.poll(three.rest("finance", "default"))
    assert list(results) == ["Finance", "default"]
    assert whole(results) == {"Finance": True, "default": True}
    assert not [received for received in three.tableau.received if received.path.endswith("/sites")]


def test_sites_may_not_be_listed(harness: RestHarness) -> None:
    """On Tableau Cloud, and for most users, the token's own site is read, and this is noted."""
    with harness.tableau.doing(lambda received: error(403, "403004") if received.path.endswith("/sites") else None):
        inventory = harness.inventory()
    (note,) = inventory.notes
    assert note.startswith("only the site default is read, sites may not be listed: ")


def test_sites_that_are_not_active(three: RestHarness) -> None:
    """A suspended site is not read, and this is noted once."""
    entries = [element("site", id=f"s{url}", contentUrl=url, state=state) for url, state in _SOME]
    pagination = element("pagination", pageNumber="1", pageSize="1000", totalAvailable="3")
    answer = Answer(
        f'<tsResponse xmlns="http://tableau.com/api">{pagination}<sites>{"".join(entries)}</sites></tsResponse>'
    )
    with three.tableau.doing(lambda received: answer if received.path.endswith("/sites") else None):
        results = three.poll(three.rest())
    assert whole(results) == {"default": True, "Finance": True}
    notes = [result.inventory.notes for result in results.values() if result.inventory]
    assert notes == [("not read, because not active: marketing",), ()]


_SOME = [("", "Active"), ("marketing", "Suspended"), ("Finance", "Active")]


def test_an_unknown_site_is_its_own_fault(three: RestHarness) -> None:
    """The others are read; the line names the site and the key, also where it stands first."""
    for order in (("default", "nowhere", "marketing"), ("nowhere", "default", "marketing")):
        results = three.poll(three.rest(*order))
        assert whole(results) == {"default": True, "nowhere": False, "marketing": True}
        assert "nowhere" in (results["nowhere"].error or "")


@pytest.mark.parametrize("sites", [("Default",), ("marketing", "Default")])
def test_the_default_site_by_another_name(three: RestHarness, sites: tuple[str, ...]) -> None:
    """An untrusted XML answer is reported with the remedy."""
    try:
        line = three.poll(three.rest(*sites))["Default"].error or ""
    except SourceRefused as failure:
        line = str(failure)
    assert line.endswith("; the Default site is written default")
    with pytest.raises(SourceRefused) as caught:
        three.poll(three.rest("nowhere"))
    assert "is written" not in str(caught.value)


def test_no_site_lets_us_in(three: RestHarness) -> None:
    """Where every configured site is unknown, nothing was had at all."""
    with pytest.raises(SourceRefused, match="whether its user belongs to the site nowhere"):
        three.poll(three.rest("nowhere", "elsewhere"))


def test_a_site_that_fails_leaves_the_others(three: RestHarness) -> None:
    """One site's login page costs that site its poll."""
    rest = three.rest()
    with three.tableau.doing(at("/site-marketing/datasources", Answer(HTML))):
        results = three.poll(rest)
    assert whole(results) == {"default": True, "marketing": False, "Finance": True}
    assert "a page of HTML" in (results["marketing"].error or "")
    assert all(whole(three.poll(rest)).values())


NO_SITES = f"{HEAD}<pagination pageNumber='1' pageSize='1000' totalAvailable='0'/><sites/></tsResponse>"
ONE_OF_THREE = (
    f"{HEAD}<pagination pageNumber='1' pageSize='1000' totalAvailable='3'/><sites>{{}}</sites></tsResponse>".format(
        element("site", id="s", contentUrl="", state="Active")
    )
)


@pytest.mark.parametrize(
    "answer", [Answer(HTML), error(403, "403004"), Answer("", 500), Answer(NO_SITES), Answer(ONE_OF_THREE)]
)
def test_a_list_of_sites_that_fails(three: RestHarness, answer: Answer) -> None:
    """The sites of the last list are read, with a note; without one, the token's own and those that came."""
    page: Override = lambda received: answer if received.path.endswith("/sites") else None  # noqa: E731
    rest = three.rest()
    with three.tableau.doing(page):
        (result,) = three.poll(rest).values()
    assert (result.site, result.inventory is not None) == ("default", True)
    assert whole(three.poll(rest)) == {"default": True, "marketing": True, "Finance": True}
    with three.tableau.doing(page):
        results = three.poll(rest)
    assert set(results) == {"default", "marketing", "Finance"}
    assert all(whole(results).values())
    assert sum(len(result.inventory.notes) for result in results.values() if result.inventory) == 1


OUTAGES = [Answer("", 503), Answer("", 500), Answer(HTML), Answer(HTML, 404)]


@pytest.mark.parametrize("sites", [(), ("default",), ("default", "marketing"), ("default", "marketing", "Finance")])
@pytest.mark.parametrize("answer", OUTAGES)
def test_a_server_that_answers_nothing_any_more(three: RestHarness, sites: tuple[str, ...], answer: Answer) -> None:
    """A session of a poll before changes nothing: where no request is answered, the source is unreachable."""
    rest = three.rest(*sites)
    three.poll(rest)
    with three.tableau.doing(at("", answer)), pytest.raises((SourceUnreachable, SourceRefused)):
        three.poll(rest)
    assert all(whole(three.poll(rest)).values())


@pytest.mark.parametrize("sites", [(), ("default", "marketing")])
def test_a_server_that_is_gone(sites: tuple[str, ...]) -> None:
    """A connection that is refused is no failure of a site."""
    with Tableau("", "marketing") as tableau:
        tableau.closing = True
        harness = RestHarness(tableau)
        rest = harness.rest(*sites)
        harness.poll(rest)
    with pytest.raises(SourceUnreachable, match="refused"):
        harness.poll(rest)
    rest.close()


@pytest.mark.parametrize("sites", [(), ("default", "marketing")])
def test_a_token_that_is_refused_at_every_site(three: RestHarness, sites: tuple[str, ...]) -> None:
    """A token that was revoked between two polls is refused as a whole."""
    rest = three.rest(*sites)
    three.poll(rest)
    three.tableau.tokens.clear()
    three.tableau.sign_everybody_out()
    with pytest.raises(SourceRefused, match="the token agent is refused"):
        three.poll(rest)


def test_sites_that_failed_before_the_first_answer(three: RestHarness) -> None:
    """They are reported when another site proves that the server is up, in their order."""
    rest = three.rest("Finance", "default", "marketing")
    three.poll(rest)
    with three.tableau.doing(at("/auth/switchSite", Answer("", 503), times=1)):
        results = three.poll(rest)
    assert list(results) == ["Finance", "default", "marketing"]
    assert whole(results) == {"Finance": False, "default": True, "marketing": True}


def test_a_site_that_is_not_for_us_any_more(three: RestHarness) -> None:
    """A server that answers so is up: the site alone has failed."""
    rest = three.rest("default")
    three.poll(rest)
    with three.tableau.doing(at("/workbooks", error(403, "403004"))):
        assert whole(three.poll(rest)) == {"default": False}


def test_a_server_that_went_away(three: RestHarness) -> None:
    """After two sites without an answer the others are not tried any more."""
    with three.tableau.doing(at("/workbooks", Answer("", 503))):
        results = three.poll(three.rest())
    assert not any(whole(results).values())
    assert three.tableau.count("/site-Finance/") == 0


def test_an_outage_is_overcome(harness: RestHarness) -> None:
    """A server that answers again is polled again, without a new source."""
    rest = harness.rest()
    with harness.tableau.doing(at("", Answer("", 503))), pytest.raises(SourceUnreachable):
        harness.poll(rest)
    assert harness.inventory(rest).content.num_rows == 3


@pytest.mark.parametrize(
    ("kind", "asset_type"), [("workbooks", "workbook"), ("datasources", "datasource"), ("flows", "flow")]
)
def test_a_list_that_fell_to_nothing(harness: RestHarness, kind: str, asset_type: str) -> None:
    """It is an error until it has stayed empty for a day; then it is a fact."""
    rest = harness.rest()
    harness.poll(rest)
    before, harness.tableau.sites[""].entries[kind] = harness.tableau.sites[""].entries[kind], []
    assert f"the list of {asset_type}s is empty, there were 1" in harness.failure(rest)
    harness.now += DAY_SECONDS - 60
    harness.failure(rest)
    harness.tableau.sites[""].entries[kind] = before
    assert harness.inventory(rest).content.num_rows == 3
    harness.tableau.sites[""].entries[kind] = []
    harness.now += 60
    harness.failure(rest)
    harness.now += DAY_SECONDS
    assert harness.inventory(rest).content.num_rows == 2
    assert harness.inventory(rest).content.num_rows == 2


def test_what_there_was_is_known_after_a_restart(harness: RestHarness) -> None:
    """Counts from before a restart are remembered; without them an empty list is accepted."""
    harness.tableau.sites[""].entries["flows"] = []
    assert harness.inventory().content.num_rows == 2
    rest = harness.rest()
    rest.remember({("default", "flow"): 4, ("default", "workbook"): 1, ("elsewhere", "datasource"): 3})
    assert "the list of flows is empty, there were 4" in harness.failure(rest)
    harness.now += DAY_SECONDS
    assert harness.inventory(rest).content.num_rows == 2
    rest.remember({("default", "flow"): 4})
    assert harness.inventory(rest).content.num_rows == 2


def test_flows_that_are_suddenly_forbidden(harness: RestHarness) -> None:
    """A list that is refused is no list of none: the flows that were listed stand for a day, with a note."""
    rest = harness.rest()
    harness.poll(rest)
    with harness.tableau.doing(lambda received: error(403, "403004") if received.path.endswith("/flows") else None):
        for count in (3, 3, 2):
            inventory = harness.inventory(rest)
            assert inventory.content.num_rows == count
            assert [note.split(":")[0] for note in inventory.notes] == ["no flows"]
            harness.now += DAY_SECONDS / 2
    harness.tableau.sites[""].entries["flows"] = []
    assert "the list of flows is empty, there were 1" in harness.failure(rest)


@pytest.mark.parametrize("status", [400, 403, 429])
def test_a_refusal_without_a_word_of_tableau(harness: RestHarness, status: int) -> None:
    """A 4xx that is not Tableau's XML proves nothing of flows: the site has failed, and retains its state."""
    rest = harness.rest()
    harness.poll(rest)
    with harness.tableau.doing(lambda received: Answer("", status) if received.path.endswith("/flows") else None):
        harness.failure(rest)


ODD_BODIES = [
    *(f'<?xml version="1.0" encoding="{name}"?><x/>' for name in ("Shift_JIS", "utf-7", "nonsense", "idna")),
    '<!DOCTYPE x [<!ENTITY e "e">]><x>&e;</x>',
    "[" + "9" * 5_000 + "]",
]


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize("body", ODD_BODIES)
def test_whatever_answers_is_one_line(harness: RestHarness, status: int, body: str) -> None:
    """No encoding, entity or number is an error of ours: a supplement costs itself, a list of assets its site."""
    for path in ("/users", "/graphql", "/flows/runs", "/tasks/linked", "/jobs"):
        with harness.tableau.doing(at(path, Answer(body, status))):
            assert harness.inventory().content.num_rows == 3
    with harness.tableau.doing(at("/workbooks", Answer(body, status))):
        harness.failure()


@pytest.mark.parametrize("path", ["/workbooks", "/users", "/jobs"])
def test_pages_without_an_end(harness: RestHarness, path: str) -> None:
    """A list whose total is never reached, and that sends the same, ends."""
    pagination = "<pagination pageNumber='1' pageSize='1000' totalAvailable='99999999999'/>"
    entry = element("user", id="u1") + element("workbook", id="w1") + element("backgroundJob", id="j1")
    page = Answer(f"{HEAD}{pagination}<list>{entry}</list></tsResponse>")
    rest = harness.rest()
    with harness.tableau.doing(
        lambda received: page if received.path.endswith(path) else None, at("graphql", Answer("", 404))
    ):
        harness.poll(rest)
    assert harness.tableau.count(path) <= 4


def test_waits_have_a_bound(harness: RestHarness) -> None:
    """Waiting by Retry-After is bounded in each poll: then the rest is throttled."""
    busy = Answer("", 429, {"Retry-After": "100"})
    with harness.tableau.doing(at("/tasks/", busy), at("/flows/runs", busy), at("/projects", busy), at("/users", busy)):
        inventory = harness.inventory()
    assert sum(harness.slept) <= 300
    assert sum("too many requests" in note for note in inventory.notes) == 6


def test_another_thread_may_poll(harness: RestHarness) -> None:
    """The session is not bound to the thread that began it."""
    rest = harness.rest()
    harness.poll(rest)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(harness.inventory(rest).content.num_rows))
    thread.start()
    thread.join()
    assert found == [3]
    assert harness.tableau.count("/auth/signin") == 1


def test_a_source_is_closed_and_used_again(harness: RestHarness) -> None:
    """Closing signs out; the next poll signs in."""
    rest = harness.rest()
    rest.close()
    harness.poll(rest)
    rest.close()
    rest.close()
    assert harness.tableau.sessions == {}
    assert harness.inventory(rest).content.num_rows == 3
    assert harness.tableau.count("/auth/signin") == 2


def test_an_agent_that_ends_signs_out(harness: RestHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session ends with the agent, and the agent does not wait long for that."""
    monkeypatch.setattr(transport, "SIGN_OUT_SECONDS", 0.3)
    rest = harness.rest()
    harness.poll(rest)
    harness.stopping = True
    rest.close()
    assert harness.tableau.sessions == {}
    harness.stopping = False
    rest = harness.rest(timeout=3600)
    harness.poll(rest)
    harness.stopping = True
    with harness.tableau.doing(at("/auth/signout", Answer(b" " * 100_000, pause=0.05))):
        rest.close()
    assert harness.tableau.count("/auth/signout") == 2
    harness.stopping = False
    harness.poll(rest)
    harness.slept.clear()
    with harness.tableau.doing(at("/auth/signout", Answer("slow down", 429, {"Retry-After": "60"}))):
        rest.close()
    assert harness.tableau.count("/auth/signout") == 3
    assert harness.slept == []


def test_where_it_is(harness: RestHarness) -> None:
    """The address is the URL, without credentials in front of the host."""
    assert harness.rest(url=f"{harness.tableau.url}/").address == harness.tableau.url
    assert harness.rest(url="http://me:canary@tableau.invalid").address == "http://tableau.invalid"
