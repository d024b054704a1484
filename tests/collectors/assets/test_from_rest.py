"""Assets are built from the REST and Metadata APIs of a site, each with the best known freshness."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from exporter.collector import columns_of
from exporter.collectors.assets.from_rest import assets_of
from exporter.collectors.assets.refreshes import known_refreshes
from exporter.inventory import (
    TAG_SEPARATOR,
    Content,
    Described,
    Inventory,
    Person,
    Project,
    Refresh,
    Task,
    remembered_of,
)

KINDS = {"BIGINT": pa.int64(), "VARCHAR": pa.string(), "BOOLEAN": pa.bool_(), "TIMESTAMP": pa.timestamp("us")}


def at(hour: int) -> datetime:
    """Return an instant of one day."""
    return datetime(2025, 11, 19, hour)  # noqa: DTZ001 - inventories' times have no zone


def table(row: type, rows: Sequence[Mapping[str, Any]], **base: object) -> pa.Table:
    """Return rows of an inventory; fields not given are NULL."""
    schema = pa.schema([(column.name, KINDS[column.type.duckdb]) for column in columns_of(row)])
    return pa.Table.from_pylist([{**dict.fromkeys(schema.names), **base, **each} for each in rows], schema=schema)


def content(*rows: Mapping[str, Any]) -> pa.Table:
    """Return the content of a site: to begin with one workbook that was changed at noon."""
    base = {"asset_type": "workbook", "asset_id": "w1", "asset_name": "Sales", "updated_at": at(12)}
    return table(Content, [{**base, **row} for row in rows or [{}]])


def inventory(contents: pa.Table | None = None, **parts: Any) -> Inventory:
    """Return the inventory of one site."""
    missing = dict.fromkeys(("projects", "people", "described", "refreshes", "looked_up", "tasks"))
    return Inventory("marketing", content() if contents is None else contents, **{**missing, **parts})


def described(*rows: Mapping[str, Any]) -> pa.Table:
    """Return data sources of the workbook."""
    return table(Described, rows, asset_type="workbook", asset_id="w1", has_extracts=True, whole=True)


def refreshes(*rows: Mapping[str, Any]) -> pa.Table:
    """Return refresh jobs of the workbook."""
    return table(Refresh, rows, asset_type="workbook", asset_id="w1", job_id="j1")


def asset(found: Inventory) -> Mapping[str, Any]:
    """Return the only asset of an inventory."""
    (row,) = assets_of(found).to_pylist()
    return dict(row)


def freshness(found: Inventory) -> tuple[object, object, object]:
    """Return the connection of the only asset, when it was refreshed, and the freshness source."""
    row = asset(found)
    return row["connection"], row["last_refresh_at"], row["freshness_source"]


def test_only_updated_at() -> None:
    """Without a better source the last change is used, and named as such."""
    assert freshness(inventory()) == (None, at(12), "updated_at")


def test_job_before_updated_at() -> None:
    """The end of a refresh job is better than the last change of anything."""
    found = inventory(refreshes=refreshes({"completed_at": at(3)}, {"completed_at": at(5)}))
    assert freshness(found) == ("extract", at(5), "job")


@pytest.mark.parametrize(("job", "expected"), [(at(5), "job"), (at(3), "metadata")])
def test_metadata_and_job(job: datetime, expected: str) -> None:
    """The Metadata API and a job are equally good: the later refresh of the extract counts."""
    found = inventory(refreshes=refreshes({"completed_at": job}), described=described({"refreshed_at": at(4)}))
    assert freshness(found) == ("extract", max(job, at(4)), expected)


def test_the_stalest_of_several() -> None:
    """A workbook is as fresh as the stalest of its own extracts and of the published ones it uses."""
    found = inventory(described=described({"refreshed_at": at(4)}, {"refreshed_at": at(2)}, {"refreshed_at": at(9)}))
    assert freshness(found) == ("extract", at(2), "metadata")


def test_never_refreshed() -> None:
    """An extract that was made with data and never refreshed counts from then."""
    assert freshness(inventory(described=described({"made_at": at(1)}))) == ("extract", at(1), "created")


def test_made_counts_only_where_never_refreshed() -> None:
    """The creation of an extract is no evidence once it was refreshed."""
    found = inventory(described=described({"made_at": at(1), "refreshed_at": at(6)}))
    assert freshness(found) == ("extract", at(6), "metadata")


@pytest.mark.parametrize(("made", "source"), [(at(1), "created"), (at(7), "metadata")])
def test_one_refreshed_and_one_never(made: datetime, source: str) -> None:
    """Of one extract that was refreshed and one that never was, the older of the two instants counts."""
    found = inventory(described=described({"refreshed_at": at(4)}, {"made_at": made}))
    assert freshness(found) == ("extract", min(made, at(4)), source)


def test_live() -> None:
    """An asset without any extract is live, and has no refresh, whatever changed."""
    found = inventory(described=described({"has_extracts": False, "refreshed_at": at(4)}))
    assert freshness(found) == ("live", None, None)


def test_live_whatever_jobs_were_once() -> None:
    """A refresh of an extract that was removed since does not make a live asset stale."""
    found = inventory(described=described({"has_extracts": False}), refreshes=refreshes({"completed_at": at(5)}))
    assert freshness(found) == ("live", None, None)


def test_mixed() -> None:
    """An asset with an extract and a live source is mixed, and its live source does not count."""
    found = inventory(described=described({"refreshed_at": at(4)}, {"has_extracts": False, "refreshed_at": at(1)}))
    assert freshness(found) == ("mixed", at(4), "metadata")


def test_unknown_source() -> None:
    """An asset with an unknown source is not called live."""
    found = inventory(described=described({"has_extracts": False}, {"has_extracts": None}))
    assert freshness(found) == (None, at(12), "updated_at")


def test_an_extract_without_times() -> None:
    """An extract of which no time is known falls back to its jobs."""
    found = inventory(described=described({}), refreshes=refreshes({"completed_at": at(5)}))
    assert freshness(found) == ("extract", at(5), "job")


@pytest.mark.parametrize(
    ("has_extracts", "expected"), [(False, ("live", None, None)), (True, ("extract", at(12), "updated_at"))]
)
def test_the_list_tells_of_a_source(has_extracts: bool, expected: object) -> None:
    """Without the Metadata API, the list of data sources has which of them are live."""
    found = inventory(content({"asset_type": "datasource", "has_extracts": has_extracts}))
    assert freshness(found) == expected


def test_flow() -> None:
    """A flow is as fresh as its last successful run; its last change is no run."""
    flow = content({"asset_type": "flow", "asset_id": "f1"})
    run = table(Refresh, [{"asset_type": "flow", "asset_id": "f1", "job_id": "r", "completed_at": at(2)}])
    assert freshness(inventory(flow, refreshes=run)) == (None, at(2), "job")
    assert freshness(inventory(flow)) == (None, None, None)


def test_the_same_number_of_another_type() -> None:
    """The facts of a data source do not apply to a workbook."""
    other = table(
        Described,
        [{"asset_type": "datasource", "asset_id": "w1", "has_extracts": True, "refreshed_at": at(1), "whole": True}],
    )
    assert freshness(inventory(described=other)) == (None, at(12), "updated_at")


def test_tasks() -> None:
    """Of several tasks the earliest run, the most failures and any suspension count; a run without failure was well."""
    tasks = table(
        Task,
        [
            {"next_run_at": at(20), "last_run_at": at(8), "consecutive_failures": 0, "suspended": False},
            {"next_run_at": at(18), "last_run_at": at(9), "consecutive_failures": 3, "suspended": True},
        ],
        asset_type="workbook",
        asset_id="w1",
    )
    row = asset(inventory(tasks=tasks))
    seen = [row[name] for name in ("next_refresh_at", "last_success_at", "consecutive_failures", "suspended")]
    assert seen == [at(18), at(8), 3, True]


def test_suspension_that_nobody_tells() -> None:
    """Where the API lacks a task's suspension, it is unknown."""
    task = table(Task, [{"asset_type": "workbook", "asset_id": "w1", "consecutive_failures": 0}])
    assert asset(inventory(tasks=task))["suspended"] is None


def test_project_path() -> None:
    """A project is its full path, in any order of the list."""
    projects = table(
        Project,
        [
            {"project_id": "c", "name": "EMEA", "parent_id": "b"},
            {"project_id": "a", "name": "Finance"},
            {"project_id": "b", "name": "Sales", "parent_id": "a"},
        ],
    )
    found = inventory(content({"project_id": "c", "project_name": "EMEA"}), projects=projects)
    assert asset(found)["project"] == "Finance/Sales/EMEA"


def test_projects_in_a_circle() -> None:
    """A circle of parents ends: the server may not have one, and yet an answer may."""
    circle = [{"project_id": "a", "name": "A", "parent_id": "b"}, {"project_id": "b", "name": "B", "parent_id": "a"}]
    found = inventory(content({"project_id": "a"}), projects=table(Project, circle))
    assert asset(found)["project"] == "B/A"


@pytest.mark.parametrize(
    ("row", "project"),
    [
        ({"project_id": "x", "project_name": "Hidden"}, "Hidden"),
        ({"project_id": "x"}, "x"),
        ({"project_name": "Personal Space"}, "Personal Space"),
        ({}, None),
    ],
)
def test_project_that_is_not_listed(row: Mapping[str, str], project: str | None) -> None:
    """A project that is not listed has the name its content gives it; who may not see the project learns none."""
    assert asset(inventory(content(row), projects=table(Project, [])))["project"] == project


def test_surroundings() -> None:
    """Owner, tags and site come through; the repository's numbers are unknown here."""
    people = table(Person, [{"owner_id": "u1", "name": "j.smith", "site_role": "Creator"}])
    tags = f"no-sla{TAG_SEPARATOR}a"
    row = asset(inventory(content({"owner_id": "u1", "tags": tags}), people=people))
    assert [row[name] for name in ("site", "content_owner", "owner_id", "tags", "asset_name")] == [
        "marketing",
        "j.smith",
        "u1",
        tags,
        "Sales",
    ]
    assert row["site_id"] is row["task_ids"] is None


def test_owner() -> None:
    """The name and the address of the owner come with the login name; an unlisted owner is unknown."""
    reported = {"owner_id": "u1", "name": "j.smith", "full_name": "Jo Smith", "email": "jo@example.com"}
    people = table(Person, [{"owner_id": "u2", "name": "ann"}, reported])
    names = ("content_owner", "owner_name", "owner_email")
    contents = content({"asset_id": "a", "owner_id": "u1"}, {"asset_id": "b", "owner_id": "u2"}, {"asset_id": "c"})
    found = assets_of(inventory(contents, people=people)).to_pylist()
    assert [tuple(row[name] for name in names) for row in found] == [
        ("j.smith", "Jo Smith", "jo@example.com"),
        ("ann", None, None),
        (None, None, None),
    ]
    for nobody in (None, table(Person, [])):
        row = asset(inventory(content({"owner_id": "u1"}), people=nobody))
        assert [row[name] for name in names] == [None, None, None]


def test_uses() -> None:
    """A workbook's published data sources are in order, each once; a workbook without any has none."""
    rows = described({"source_id": "d2"}, {}, {"source_id": "d1"}, {"source_id": "d2"}, {"asset_id": "w2"})
    found = assets_of(inventory(content({}, {"asset_id": "w2"}, {"asset_id": "w3"}), described=rows))
    assert found.column("uses").to_pylist() == [f"d1{TAG_SEPARATOR}d2", None, None]
    assert asset(inventory())["uses"] is None


WHOLE = {"has_extracts": True, "whole": True}


def next_poll(before: Inventory, **parts: Any) -> Inventory:
    """Return the inventory of the poll after another, which remembers the other's rows."""
    return inventory(before.content, remembered=known_refreshes(before), **parts)


def test_what_was_known_stands() -> None:
    """A throttled source removes nothing: its last reported refresh stands, by its name."""
    before = inventory(described=described({"refreshed_at": at(2)}))
    silent = next_poll(before)
    assert freshness(silent) == ("extract", at(2), "metadata")
    assert freshness(next_poll(silent)) == ("extract", at(2), "metadata")
    job = next_poll(silent, refreshes=refreshes({"completed_at": at(5)}))
    assert freshness(job) == ("extract", at(5), "job")
    assert freshness(next_poll(job, described=described({"refreshed_at": at(3)}))) == ("extract", at(5), "job")


def test_live_stands_too() -> None:
    """A live or mixed asset does not become an extract, nor stale, because a source is down."""
    live = next_poll(inventory(described=described({"has_extracts": False})))
    assert freshness(live) == ("live", None, None)
    mixed = next_poll(inventory(described=described({"refreshed_at": at(4)}, {"has_extracts": False})))
    assert freshness(mixed) == ("mixed", at(4), "metadata")


@pytest.mark.parametrize(
    "described_now", [[{"has_extracts": False}], [{"has_extracts": None}], [{"refreshed_at": at(9)}]]
)
def test_a_partial_answer_makes_nothing_fresher(described_now: list[dict[str, Any]]) -> None:
    """Beside an error, missing extracts prove nothing: the stalest one may be among them."""
    before = inventory(described=described({"refreshed_at": at(2)}, {"refreshed_at": at(9)}))
    now = next_poll(before, described=described(*({**row, "whole": False} for row in described_now)))
    assert freshness(now) == ("extract", at(2), "metadata")


def test_a_partial_answer_where_nothing_was_known() -> None:
    """An extract that was seen bounds the age; whether the asset reads more is not known, and it is never live."""
    seen = inventory(described=described({"refreshed_at": at(2), "whole": False}))
    assert freshness(seen) == (None, at(2), "metadata")
    assert freshness(next_poll(seen)) == (None, at(2), "metadata")
    none = inventory(described=described({"has_extracts": False, "whole": False}))
    assert freshness(none) == (None, at(12), "updated_at")
    later = next_poll(seen, described=described({"refreshed_at": at(1)}, {"refreshed_at": at(3)}))
    assert freshness(later) == ("extract", at(1), "metadata")


def test_an_answer_that_is_late() -> None:
    """Of one extract the latest refresh counts, against a source that lags."""
    before = inventory(described=described({"refreshed_at": at(9)}))
    assert freshness(next_poll(before, described=described({"refreshed_at": at(3)}))) == ("extract", at(9), "metadata")


def test_another_extract() -> None:
    """An extract that was added may be staler than those that were remembered."""
    before = inventory(described=described({"refreshed_at": at(9)}))
    now = next_poll(before, described=described({"refreshed_at": at(9)}, {"refreshed_at": at(3)}))
    assert freshness(now) == ("extract", at(3), "metadata")


def test_made_never_replaces_a_refresh() -> None:
    """An extract that was published again was refreshed when it was refreshed last."""
    before = inventory(refreshes=refreshes({"completed_at": at(2)}))
    assert freshness(next_poll(before, described=described({"made_at": at(11)}))) == ("extract", at(2), "job")


def test_a_workbook_on_published_sources() -> None:
    """A workbook is as fresh as the stalest source that it uses; one of which nothing is known leaves it unknown."""
    contents = content({"asset_id": "w1"}, {"asset_type": "datasource", "asset_id": "d1"})
    uses = {"asset_type": "workbook", "asset_id": "w1", "whole": True}
    source = {"asset_type": "datasource", "asset_id": "d1", "refreshed_at": at(2), **WHOLE}
    rows = table(Described, [{**uses, "source_id": "d1"}, source])
    found = {row["asset_id"]: row for row in assets_of(inventory(contents, described=rows)).to_pylist()}
    assert [found["w1"][name] for name in ("connection", "last_refresh_at", "freshness_source")] == [
        "extract",
        at(2),
        "metadata",
    ]
    unknown = table(Described, [{**uses, "source_id": "d1"}, {**uses, "source_id": "d2"}, source])
    found = {row["asset_id"]: row for row in assets_of(inventory(contents, described=unknown)).to_pylist()}
    assert (found["w1"]["connection"], found["w1"]["last_refresh_at"]) == (None, at(2))


def test_a_job_of_a_source_reaches_its_workbooks() -> None:
    """A source whose job ended after the Metadata API's read is that fresh for the workbooks on it, too."""
    contents = content({"asset_id": "w1"}, {"asset_type": "datasource", "asset_id": "d1"})
    rows = table(
        Described,
        [
            {"asset_type": "workbook", "asset_id": "w1", "source_id": "d1", "whole": True},
            {"asset_type": "datasource", "asset_id": "d1", "refreshed_at": at(2), **WHOLE},
        ],
    )
    job = table(Refresh, [{"asset_type": "datasource", "asset_id": "d1", "job_id": "j", "completed_at": at(7)}])
    found = assets_of(inventory(contents, described=rows, refreshes=job)).to_pylist()
    assert {(row["asset_id"], row["last_refresh_at"], row["freshness_source"]) for row in found} == {
        ("w1", at(7), "job"),
        ("d1", at(7), "job"),
    }


def test_an_entry_that_contradicts_its_description() -> None:
    """A workbook whose entry has an extract and whose description has none is not called live."""
    found = inventory(content({"has_extracts": True}), described=described({"has_extracts": False}))
    assert freshness(found) == (None, at(12), "updated_at")


def test_a_workbook_without_an_extract_of_its_own() -> None:
    """An entry without an extract makes a workbook neither live nor stale: it may use published extracts."""
    assert freshness(inventory(content({"has_extracts": False}))) == (None, None, None)


def test_without_the_history() -> None:
    """Where remembered refreshes cannot be read, the last change of content is no refresh."""
    found = inventory(remembered=None)
    assert freshness(found) == (None, None, None)


def test_a_workbook_described_in_part_and_refreshed() -> None:
    """A job refreshes the extracts of its own; its other sources stay unknown, so it is not called an extract."""
    rows = described({"refreshed_at": at(1), "whole": False})
    seen = inventory(described=rows, refreshes=refreshes({"completed_at": at(9)}))
    assert freshness(seen) == (None, at(9), "job")
    assert freshness(next_poll(seen)) == (None, at(9), "job")


def test_a_description_that_lost_its_extracts() -> None:
    """A workbook whose entry has an extract is described late, and retains its known freshness."""
    before = inventory(content({"has_extracts": True}), described=described({"refreshed_at": at(2)}))
    late = inventory(before.content, remembered=known_refreshes(before), described=described({"has_extracts": False}))
    assert freshness(late) == ("extract", at(2), "metadata")
    assert freshness(next_poll(late)) == ("extract", at(2), "metadata")


def test_extracts_that_were_only_made_replace_no_refresh() -> None:
    """However many there are now, none of them was refreshed since."""
    before = inventory(described=described({"refreshed_at": at(2)}))
    assert freshness(next_poll(before, described=described({"made_at": at(11)}, {"made_at": at(10)})))[1:] == (
        at(2),
        "metadata",
    )


def test_what_another_site_remembered() -> None:
    """LUIDs are unique: a renamed site, and a moved asset, retain their known freshness."""
    before = inventory(described=described({"refreshed_at": at(2)}))
    elsewhere = {"old name": known_refreshes(before)}
    renamed = inventory(remembered=remembered_of(elsewhere, "new name", before.content))
    assert freshness(renamed) == ("extract", at(2), "metadata")


def test_tasks_of_an_earlier_poll() -> None:
    """Failures and suspensions stand while tasks cannot be read; when they run next is not known any more."""
    task = {"next_run_at": at(20), "consecutive_failures": 4, "suspended": True}
    tasks = table(Task, [task], asset_type="workbook", asset_id="w1")
    row = asset(inventory(tasks=tasks, tasks_read=frozenset({"flow"})))
    seen = [row[name] for name in ("next_refresh_at", "consecutive_failures", "suspended", "tasks_known")]
    assert seen == [None, 4, True, False]


def test_every_asset_once() -> None:
    """However many sources, jobs and tasks an asset has, it is one row; an empty site has none."""
    found = inventory(
        content({}, {"asset_id": "w2"}, {"asset_type": "flow"}),
        described=described({"refreshed_at": at(4)}, {"refreshed_at": at(5)}),
        refreshes=refreshes({"completed_at": at(1)}, {"completed_at": at(2)}),
    )
    assert [(row["asset_type"], row["asset_id"]) for row in assets_of(found).to_pylist()] == [
        ("flow", "w1"),
        ("workbook", "w1"),
        ("workbook", "w2"),
    ]
    assert assets_of(inventory(table(Content, []))).num_rows == 0


def test_the_number_of_a_page() -> None:
    """It is as the list of assets has it."""
    assert asset(inventory(content({"url_id": 265605})))["url_id"] == 265605
