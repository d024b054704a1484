"""Users stay hidden where the privacy options hide them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from exporter.demo.simulation import Simulation
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from tests.end_to_end.agent_outputs import printed, served, stored
from tests.end_to_end.conftest import ask
from tests.end_to_end.scrapes import by_labels
from tests.support.agent_process import Agent
from tests.support.wait import PATIENCE_SECONDS

FULL_ADDRESS = re.compile(rb"10\.20\.\d{1,3}\.[1-9]\d{0,2}|2001:db8:[0-9a-f]{0,4}:[0-9a-f:]*[1-9a-f]|192\.0\.2\.1[01]")
SYSTEM_ACCOUNTS = (1, 2)


def watched(agent: Agent) -> Iterator[tuple[str, bytes]]:
    """Run an agent for some polls; yield all its responses, files and logs, each with its place."""
    agent.start()
    agent.polled()
    yield from served(agent)
    yield "check", printed(agent, "check")
    agent.kill()  # a write-ahead log, if there is one, is searched too
    yield from stored(agent)


def person_ids(simulation: Simulation) -> list[bytes]:
    """Return the login, name and e-mail address of every user; system accounts are none."""
    rows = ask(
        simulation,
        "SELECT name, friendly_name, email FROM system_users WHERE id <> ALL (%s)",
        list(SYSTEM_ACCOUNTS),
    )
    return [text.encode() for row in rows for text in row]


@pytest.mark.parametrize(("users", "addresses"), [("pseudonym", "truncated"), ("none", "none")])
def test_people_are_hidden(users: str, addresses: str, repository: Simulation, agents: Callable[..., Agent]) -> None:
    """No user's login, name, e-mail address or network address is found, and the active users are still counted."""
    agent = agents(repository.parameters(), PRIVACY__USERS=users, PRIVACY__ADDRESSES=addresses, LOG__LEVEL="debug")
    users_of = person_ids(repository)
    assert len(users_of) > 100
    found = {}
    for place, content in watched(agent):
        traces = [person for person in users_of if person in content]
        # In the file itself one text stands right behind the other: a network and a digit resemble an address.
        traces += FULL_ADDRESS.findall(content) if place != agent.history.name else []
        if traces:
            found[place] = traces[:5]
    assert found == {}
    (seen,) = agent.query("SELECT count(DISTINCT person), max(person) FROM last_seen")
    ((known, newest),) = ask(repository, "SELECT count(DISTINCT system_user_id), max(system_user_id) FROM users")
    assert 0 < seen[0] <= known
    assert users == "none" or seen[1] > newest


def published_nowhere(agent: Agent) -> Iterator[tuple[str, bytes]]:
    """Yield the outputs that never have displayed names and addresses, under any privacy options: all but the file."""
    agent.start()
    agent.polled()
    yield from served(agent)
    yield "check", printed(agent, "check")
    agent.kill()
    yield "log", agent.log.read_bytes()


def names_and_addresses(simulation: Simulation) -> list[bytes]:
    """Return the displayed name and the e-mail address of every user; system accounts are none."""
    rows = ask(simulation, "SELECT friendly_name, email FROM system_users WHERE id <> ALL (%s)", list(SYSTEM_ACCOUNTS))
    return [text.encode() for row in rows for text in row]


def test_names_and_addresses_are_for_notifications_alone(repository: Simulation, agents: Callable[..., Agent]) -> None:
    """Also with login names published, no displayed name and no address is in metrics, pages or logs."""
    agent = agents(repository.parameters(), LOG__LEVEL="debug")
    users_of = names_and_addresses(repository)
    assert len(users_of) > 100
    found = {
        place: traces
        for place, content in published_nowhere(agent)
        if (traces := [p for p in users_of if p in content])
    }
    assert found == {}


@pytest.mark.parametrize("users", ["name", "pseudonym", "none"])
def test_what_the_apis_tell_of_people(users: str, repository: Simulation, tmp_path: Path) -> None:
    """Users from REST are not published either, and never stored; the login names are hidden too."""
    rest = {"REST__POLL_INTERVAL": "1s", "PRIVACY__USERS": users, "LOG__LEVEL": "debug"}
    users_of = names_and_addresses(repository) if users == "name" else person_ids(repository)
    ((token, value),) = TOKENS.items()
    with TableauServer(Estate.of(repository.company).plain()) as tableau:
        keys = {"REST__URL": tableau.url, "REST__TOKEN_NAME": token, "REST__TOKEN_VALUE": value}
        with Agent(tmp_path, None, **keys, **rest) as agent:
            agent.until(lambda: agent.value("tableau_collector_success", collector="assets") == 1, "a poll")
            owners = by_labels(agent.metrics("tableau_asset_info"), "tableau_asset_info", "content_owner")
            everything = [*served(agent)]
            agent.kill()
            everything += stored(agent)
    assert all(owner for (owner,) in owners) == (users != "none")
    assert tableau.requests["users"] > 0
    assert {place: traces for place, content in everything if (traces := [p for p in users_of if p in content])} == {}


def test_people_stay_hidden_after_a_reload(changing: Simulation, agents: Callable[..., Agent]) -> None:
    """A reload goes on with the same pseudonyms: no user is named, and none is counted twice."""
    agent = agents(changing.parameters(), PRIVACY__USERS="pseudonym").start()
    agent.polled()
    person = "SELECT DISTINCT person FROM last_seen ORDER BY ALL"
    owners = "SELECT DISTINCT name FROM logins ORDER BY ALL"
    before, named = agent.query(person), agent.query(owners)
    assert httpx.post(f"{agent.url}/-/reload", timeout=PATIENCE_SECONDS).status_code == httpx.codes.OK
    ask(changing, "UPDATE http_requests SET completed_at = created_at WHERE completed_at IS NULL")
    ask(changing, "UPDATE users SET login_at = timezone('UTC', now()) WHERE login_at IS NOT NULL")
    ask(
        changing,
        "INSERT INTO http_requests (site_id, user_id, action, controller, created_at, completed_at, status)"
        " SELECT site_id, id, 'show', 'views', timezone('UTC', now()), timezone('UTC', now()), 200"
        " FROM users WHERE id IN (SELECT user_id FROM http_requests)",
    )
    agent.polled()
    assert agent.query(person) == before
    assert agent.query(owners) == named
