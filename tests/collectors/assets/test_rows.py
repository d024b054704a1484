"""Which workbooks stand downstream of a published data source."""

from random import Random

import pyarrow as pa

from exporter.collectors.assets.rows import ARROW_SCHEMA, downstream
from exporter.inventory import TAG_SEPARATOR


def assets(*uses: str | None) -> pa.Table:
    """Return assets that use these sources."""
    empty = dict.fromkeys(ARROW_SCHEMA.names)
    return pa.Table.from_pylist([{**empty, "asset_type": "workbook", "uses": each} for each in uses], ARROW_SCHEMA)


def test_each_source_has_its_workbooks() -> None:
    """By position, in order; what uses nothing is nowhere, and what nobody uses is not there."""
    both = TAG_SEPARATOR.join(("d1", "d2"))
    assert downstream(assets(None, "d2", both, None, "d1", "d2")) == {"d2": [1, 2, 5], "d1": [2, 4]}


def test_nothing_is_used() -> None:
    """No assets, or none that uses a source: nobody is downstream of anything."""
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
