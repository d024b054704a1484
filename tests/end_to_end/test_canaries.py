"""Secrets are found nowhere, whatever goes wrong: each is a canary, each error is driven, each place is searched."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from exporter.config import RunOptions
from exporter.demo.simulation import Simulation
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.jwt import App
from exporter.demo.tableau.server import TableauServer
from tests.end_to_end.canaries import FORMS, NAMES, Canary, keys_called_secret, secret_keys
from tests.end_to_end.canary_agent import VARIANTS, CanaryAgent, Variant, exports
from tests.end_to_end.conftest import ask
from tests.end_to_end.leak_scenarios import SCENARIOS, Peers
from tests.support.raw_server import RawServer, reply
from tests.support.soak import LONG


def test_every_secret_of_the_schema_is_a_canary() -> None:
    """A key that is added to the schema as a secret must be in a variant, and one that is called like one a secret."""
    secret = set(secret_keys())
    assert {key for variant in VARIANTS.values() for key in variant.keys} == secret
    assert set(keys_called_secret()) - secret == NAMES


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_canary_is_hidden_from_the_log(variant: Variant, tmp_path: Path) -> None:
    """Return the secrets of a variant that the log masks."""
    config = CanaryAgent(tmp_path, variant, Peers()).config
    secrets = RunOptions(config_file=config, config_file_explicit=True).load(()).secrets()
    assert {canary.value for canary in variant.canaries.values()} <= set(secrets)


@pytest.mark.parametrize("form", FORMS)
def test_a_canary_is_recognised(form: str) -> None:
    """Quoted in any form, and cut in the middle, a canary is seen."""
    text = FORMS[form](Canary("a").value)
    assert Canary("a").is_in(text.encode())
    assert Canary("a").is_in(text[: len(text) * 2 // 3].encode())
    assert not Canary("b").is_in(text.encode())


def _cases() -> Iterator[object]:
    """Yield each scenario with one variant, in turn, and with all of them in the long run."""
    names = list(VARIANTS)
    for number, scenario in enumerate(SCENARIOS):
        chosen = ["files"] if scenario == "forgotten" else names if LONG else [names[number % len(names)]]
        for variant in chosen:
            yield pytest.param(scenario, variant, id=f"{scenario}, {variant}")


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(("scenario", "variant"), [*_cases()])
def test_no_canary_is_found(scenario: str, variant: str, tmp_path: Path) -> None:
    """Log, pages, metrics, file, notifications and commands hold no secret, nor a half of it, in any usual form."""
    chosen = VARIANTS[variant]
    with SCENARIOS[scenario](chosen.secrets) as peers, CanaryAgent(tmp_path, chosen, peers) as guarded:
        assert guarded.leaks(guarded.among_peers()) == {}


def _configured(short: str) -> Mapping[str, Variant]:
    """Return the one variant of a short run, or all of them where there is time."""
    return VARIANTS if LONG else {short: VARIANTS[short]}


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("variant", _configured("tokens").values(), ids=_configured("tokens"))
def test_no_canary_is_found_beside_a_fault(variant: Variant, tmp_path: Path) -> None:
    """Malformed requests, faulty files and stores that are out of reach bring none out either."""
    with CanaryAgent(tmp_path, variant, Peers()) as guarded:
        assert guarded.leaks(guarded.with_faults()) == {}


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("variant", _configured("files").values(), ids=_configured("files"))
def test_no_canary_is_found_where_all_is_well(variant: Variant, restartable: Simulation, tmp_path: Path) -> None:
    """Nor does a company of assets and requests, whose rows have tickets, tokens and cookies of their own."""
    secrets, parameters = variant.secrets, restartable.parameters()
    ask(restartable, f"ALTER ROLE readonly PASSWORD {quoted(secrets.repository.value)}")
    with (
        TableauServer(
            Estate.of(restartable.company),
            tokens={"agent": secrets.rest.value},
            apps=(App("client", "secret-id", secrets.rest.value),),
        ) as tableau,
        RawServer(reply()) as alertmanager,
    ):
        peers = Peers(
            f"{parameters['host']}:{parameters['port']}",
            rest=tableau.url,
            alertmanager=alertmanager.url,
            database=str(parameters["dbname"]),
            received=lambda: any(received.method == "POST" for received in alertmanager.received),
            notifications=lambda: alertmanager.received,
        )
        with CanaryAgent(tmp_path, variant, peers) as guarded:
            assert guarded.leaks(guarded.among_peers(*exports())) == {}
            count = "SELECT count(*) > 0 FROM http_requests WHERE http_request_uri LIKE '/trusted/-/%'"
            assert guarded.agent.query(count) == [(True,)]


def quoted(text: str) -> str:
    """Return a literal of SQL."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
