"""Assets by the hundred thousand as the collector shows them, with LUIDs that no compressor can guess."""

import random
import uuid
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from exporter.collector import Context
from exporter.collectors.assets.metrics import FAILURES, HOURS, LAST_REFRESH, expose
from exporter.collectors.assets.rows import ARROW_SCHEMA
from exporter.metrics import Block, HistogramBlock

NOW = 1_700_000_000.0
WORDS = ("Sales", "Finance", "Churn", "Pipeline", "Orders", "Margin", "Claims", "Revenue", "Stock", "Returns")
THREE = frozenset({HOURS.name, LAST_REFRESH.name, FAILURES.name})
"""The families of the smaller exposition: three gauges, as measurements of others have them."""


def assets(count: int, *, poll: int = 0) -> pa.Table:
    """Return so many assets in order of site and project, as a poll finds them; each poll refreshes some of them."""
    dice = random.Random(1)
    draws = np.random.default_rng(poll)
    refreshed = NOW - np.random.default_rng(0).integers(600, 400_000, count)
    again = draws.random(count) < 0.01 * bool(poll)
    refreshed = np.where(again, NOW + 60 * poll, refreshed)
    columns: dict[str, object] = {name: pa.nulls(count, ARROW_SCHEMA.field(name).type) for name in ARROW_SCHEMA.names}
    columns |= {
        "site_id": [1 + number * 10 // count for number in range(count)],
        "site": [f"site{number * 10 // count}" for number in range(count)],
        "project": [f"{WORDS[number * 10 // count]}/Team {number * 400 // count}" for number in range(count)],
        "asset_type": ["datasource" if number % 3 == 2 else "workbook" for number in range(count)],
        "asset_id": [str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(count)],
        "asset_name": [f"{dice.choice(WORDS)} {dice.choice(WORDS)} {dice.randrange(1000)}" for _ in range(count)],
        "content_owner": [f"user{dice.randrange(2000)}" for _ in range(count)],
        "connection": ["extract"] * count,
        "freshness_source": ["repository"] * count,
        "last_refresh_at": pa.array((refreshed * 1e6).astype("int64")).cast(pa.timestamp("us")),
        "next_refresh_at": pa.array(((refreshed + 500_000) * 1e6).astype("int64")).cast(pa.timestamp("us")),
        "consecutive_failures": [int(value) for value in draws.integers(0, 3, count)],
        "suspended": [False] * count,
        "tasks_known": [True] * count,
    }
    return pa.table(columns, schema=ARROW_SCHEMA)


def blocks(table: pa.Table, *, small: bool = False) -> Sequence[Block | HistogramBlock]:
    """Return the samples of assets as a poll makes them: of all of the collector's families or of three of them."""
    context = Context({}, lambda _: (12.0, 24.0), now=NOW)
    return [block for block in expose(table, context) if not small or block.family.name in THREE]
