"""PromQL of the dashboards, with short names for the matchers of their variables.

``@here`` matches job and instance, ``@site`` also the site, ``@asset`` also the project. ``@id`` are the labels that
identify an asset, ``@owned`` keeps the assets of the selected owners. The rest is PromQL and Grafana's variables.
"""

import re

HERE = 'job=~"$job",instance=~"$instance"'
SITE = f'{HERE},site=~"$site"'
ASSET = f'{SITE},project=~"$project"'
ID = "job, instance, site, asset_type, asset_id"
SHORT = {
    "@here": HERE,
    "@site": SITE,
    "@asset": ASSET,
    "@id": ID,
    "@owned": f'and on ({ID}) tableau_asset_info{{{ASSET},content_owner=~"$content_owner"}}',
}


def promql(text: str) -> str:
    """Return an expression on one line with its short names expanded; KeyError for an unknown one."""
    return re.sub(r"@\w+", lambda match: SHORT[match[0]], " ".join(text.split()))
