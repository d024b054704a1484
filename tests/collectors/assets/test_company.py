"""The assets of a whole company, compared with its plan; written without the statement in mind."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from exporter.collectors.assets import COLLECTOR
from exporter.collectors.assets.from_rest import assets_of
from exporter.demo.names import ODD
from exporter.demo.rows import Row
from exporter.demo.simulation import Simulation
from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.demo.workgroup import VERSIONS
from exporter.inventory import REFRESHES
from exporter.rest.client import RestClient
from exporter.rest.credentials import RestOptions, Token
from tests.collectors.repositories import read

(STATE,) = COLLECTOR.states

Fresh = tuple[datetime | None, str | None, str | None]


def own(row: Row) -> tuple[Any, str] | None:
    """Return when the extract of a workbook or data source was refreshed, and the source of that."""
    if not row["data_engine_extracts"]:
        return None
    dates = [row[name] for name in ("extracts_refreshed_at", "extracts_incremented_at") if row[name]]
    return (max(dates, key=str), "repository") if dates else (row["last_published_at"], "created")


def stalest(extracts: Sequence[tuple[Any, str]], *, live: bool) -> Fresh:
    """Choose among the extracts of one asset."""
    if not extracts:
        return None, None, "live"
    return (*min(extracts, key=lambda extract: str(extract[0])), "mixed" if live else "extract")


def used(tables: Mapping[str, Sequence[Row]], workbook: Row) -> list[Row]:
    """Find the published data sources of a workbook: by name, on its site."""
    names = {
        link["dbname"]
        for link in tables["data_connections"]
        if (link["owner_type"], link["owner_id"], link["dbclass"]) == ("Workbook", workbook["id"], "sqlproxy")
    }
    published = [row for row in tables["datasources"] if row["connectable"] and row["site_id"] == workbook["site_id"]]
    return [row for row in published if row["repository_url"] in names]


def runs(tables: Mapping[str, Sequence[Row]], flow: Row) -> list[Any]:
    """List when a flow succeeded."""
    done = [run for run in tables["flow_runs"] if run["flow_id"] == flow["id"] and run["finish_code"] == 0]
    return [run["completed_at"] for run in done if run["completed_at"]]


def expected(simulation: Simulation) -> dict[object, Fresh]:
    """Return the freshness of each asset, by LUID."""
    tables = simulation.company.tables
    answer: dict[object, Fresh] = {
        row["luid"]: stalest([extract] if (extract := own(row)) else [], live=False)
        for row in tables["datasources"]
        if row["connectable"] and row["state"] != "archived"
    }
    for row in tables["workbooks"]:
        if row["is_deleted"] or (row["is_private"] and simulation.version == "2019.3"):
            continue
        sources = used(tables, row)
        extracts = [extract for extract in (own(row), *map(own, sources)) if extract]
        answer[row["luid"]] = stalest(extracts, live=any(own(each) is None for each in sources))
    for row in tables["flows"]:
        if row["is_deleted"] or row["state"] == "archived":
            continue
        succeeded = runs(tables, row)
        answer[row["luid"]] = (max(succeeded, key=str), "job", None) if succeeded else (None, None, None)
    return answer


def test_every_asset_is_as_fresh_as_its_story_says(simulation: Simulation) -> None:
    """All assets and no others, in each version of the schema."""
    found = {
        row["asset_id"]: (row["last_refresh_at"], row["freshness_source"], row["connection"])
        for row in read(simulation.parameters(), STATE).to_pylist()
    }
    assert found == expected(simulation)
    assert {source for _, source, _ in found.values()} == {"repository", "created", "job", None}
    assert {connection for _, _, connection in found.values()} == {"extract", "mixed", "live", None}


def test_uses_and_owners_are_those_of_the_story(simulation: Simulation) -> None:
    """Which sources each workbook uses, and the name and the address of each owner, in each version of the schema."""
    tables = simulation.company.tables
    accounts = {row["id"]: row for row in tables["system_users"]}
    people = {row["luid"]: accounts[row["system_user_id"]] for row in tables["users"]}
    books = {row["luid"]: row for row in tables["workbooks"]}
    found = read(simulation.parameters(), STATE).to_pylist()
    for row in found:
        owner = people[row["owner_id"]]
        assert [row["content_owner"], row["owner_name"], row["owner_email"]] == [
            owner[name] for name in ("name", "friendly_name", "email")
        ]
        luids = sorted({str(each["luid"]) for each in used(tables, books[row["asset_id"]])}) if is_book(row) else []
        assert row["uses"] == ("\x1f".join(luids) or None)
    assert sum(row["uses"] is not None for row in found) > 5


def is_book(row: Mapping[str, Any]) -> bool:
    """Whether an asset is a workbook."""
    return bool(row["asset_type"] == "workbook")


def test_the_apis_tell_the_same(simulation: Simulation) -> None:
    """The simulated REST and Metadata APIs name the same uses, owners and pages as the repository, for every asset."""
    names = ("asset_id", "uses", "owner_id", "content_owner", "owner_name", "owner_email", "url_id")
    with TableauServer(Estate.of(simulation.company).plain()) as server:
        rest = RestClient(RestOptions(server.url, (), lambda: Token(*next(iter(TOKENS.items())))))
        inventories = [result.inventory for result in rest.poll(REFRESHES.empty_table(), 0)]
        rest.close()
    rows = [row for inventory in inventories if inventory for row in assets_of(inventory).select(names).to_pylist()]
    reported = {row["asset_id"]: row for row in rows}
    kept = {row["asset_id"]: row for row in read(simulation.parameters(), STATE).select(names).to_pylist()}
    # The oldest repository knows no Personal Space, and lacks what stands there.
    assert {luid: reported[luid] for luid in kept} == kept
    assert len(reported) - len(kept) == (simulation.version == VERSIONS[0])


def test_hostile_names_pass_unchanged(simulation: Simulation) -> None:
    """Typed names are read unchanged: quotes, line breaks, emoji, right-to-left."""
    names = {row["asset_name"] for row in read(simulation.parameters(), STATE).to_pylist()}
    typed = {row["name"] for row in simulation.company.tables["workbooks"]} & set(ODD)
    hidden = {row["name"] for kind in ("deleted", "private") for row in simulation.company.of_kind("workbooks", kind)}
    assert typed - hidden <= names
    assert len(typed - hidden) > 8
