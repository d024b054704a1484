"""PromQL as the dashboards write it: what is chosen above them stands behind a short name.

``@here`` are the matchers of job and instance, ``@site`` those and the site's, ``@asset`` those and the project's.
``@id`` are the labels that tell an asset from all others, ``@owned`` keeps the assets of the owners that are chosen.
Everything else is PromQL and Grafana's own variables.
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
    """Return an expression on one line, with its short names written out; KeyError for one that is not known."""
    return re.sub(r"@\w+", lambda match: SHORT[match[0]], " ".join(text.split()))
