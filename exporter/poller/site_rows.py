"""Sites of Tableau as rows of the history's table of sites, where no repository has them."""

from collections.abc import Mapping

import pyarrow as pa

from exporter.collector import columns_of
from exporter.collectors._arrow import number_of
from exporter.collectors.content.sites_projects import Site

DEFAULT_SITE = "default"


def site_rows(names: Mapping[str, str]) -> pa.Table:
    """Return rows of Site; ``names`` are the labels of sites by LUID."""
    values = {
        "id": [number_of(luid) for luid in names],
        "luid": list(names),
        "name": list(names.values()),
        "url_namespace": ["" if name == DEFAULT_SITE else name for name in names.values()],
    }
    return pa.table(
        {
            column.name: pa.array(values.get(column.name, [None] * len(names)), column.type.arrow)
            for column in columns_of(Site)
        }
    )
