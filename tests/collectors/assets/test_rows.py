"""Which workbooks stand downstream of a published data source, and where Tableau's pages of assets are."""

from random import Random

import pyarrow as pa
import pytest

from exporter.collectors.assets.rows import ARROW_SCHEMA, downstream, page_url
from exporter.inventory import TAG_SEPARATOR

ODD = "a%2Fb%22%3E%3Cscript%3E%C3%A9%3F"


def assets(*uses: str | None) -> pa.Table:
    """Return assets that use these sources."""
    empty = dict.fromkeys(ARROW_SCHEMA.names)
    return pa.Table.from_pylist([{**empty, "asset_type": "workbook", "uses": each} for each in uses], ARROW_SCHEMA)


def test_each_source_has_its_workbooks() -> None:
    """By position, in order; an asset that uses none, and one that no other uses, are absent."""
    both = TAG_SEPARATOR.join(("d1", "d2"))
    assert downstream(assets(None, "d2", both, None, "d1", "d2")) == {"d2": [1, 2, 5], "d1": [2, 4]}


def test_nothing_is_used() -> None:
    """No assets, or none that uses a source: none is downstream of any."""
    assert downstream(assets()) == downstream(assets(None, None)) == {}
    assert downstream(ARROW_SCHEMA.empty_table()) == {}


def test_rows_of_several_sources() -> None:
    """Positions are those of the whole table, however many pieces it is made of."""
    rows = pa.concat_tables([assets("d1"), assets(), assets(None, "d1"), assets("d2")])
    assert downstream(rows) == {"d1": [0, 2], "d2": [3]}


def test_any_estate() -> None:
    """The same as going through the rows one by one."""
    for seed in range(50):
        random = Random(seed)
        luids = [f"{number:08x}-5a5a" for number in range(random.randrange(1, 12))]
        uses = [
            TAG_SEPARATOR.join(sorted(random.sample(luids, min(len(luids), random.randrange(4))))) or None
            for _ in range(random.randrange(40))
        ]
        expected: dict[str, list[int]] = {}
        for place, text in enumerate(uses):
            for luid in text.split(TAG_SEPARATOR) if text else ():
                expected.setdefault(luid, []).append(place)
        assert downstream(assets(*uses)) == expected


@pytest.mark.parametrize(
    ("server", "site", "asset_type", "url_id", "address"),
    [
        ("https://t.example", "default", "workbook", 7, "https://t.example/#/workbooks/7"),
        ("https://t.example", "marketing", "datasource", 8, "https://t.example/#/site/marketing/datasources/8"),
        ("http://t.example:8000/tableau", "hr", "flow", 9, "http://t.example:8000/tableau/#/site/hr/flows/9"),
        ("https://t.example", 'a/b"><script>é\ud800', "workbook", 7, f"https://t.example/#/site/{ODD}/workbooks/7"),
        (None, "default", "workbook", 7, ""),
        ("https://t.example", "", "workbook", 7, ""),
        ("https://t.example", "default", "workbook", None, ""),
    ],
)
def test_the_page_of_an_asset(server: str | None, site: str, asset_type: str, url_id: int | None, address: str) -> None:
    """It is on the configured server, in the asset's site, and has its number; a part that is unknown makes no page."""
    assert page_url(server, site, asset_type, url_id) == address
