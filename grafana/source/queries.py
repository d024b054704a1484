"""PromQL of the dashboards, with short names for the matchers of their variables.

``@here`` matches job and instance, ``@site`` also the site, ``@asset`` also the project. ``@id`` are the labels that
identify an asset, ``@owned`` keeps the assets of the selected owners, ``@jobs_known`` are the agents that know which
jobs wait and run. The rest is PromQL and Grafana's variables.
"""

import re

HERE = 'job=~"$job",instance=~"$instance"'
SITE = f'{HERE},site=~"$site"'
ASSET = f'{SITE},project=~"$project"'
ID = "job, instance, site, asset_type, asset_id"
# Where the Activity Log is the source of jobs, none of them waits or runs as far as is known.
JOBS_KNOWN = (
    f'(tableau_collector_success{{{HERE},collector="background_jobs"}} == 1 unless on (job, instance)'
    f' (tableau_up{{{HERE},source="activity_log"}} unless on (job, instance) tableau_up{{{HERE},source="repository"}}))'
)
# The users of the roles that need each type of licence, and the seats of that type, both by site and type.
USERS_OF_LICENCES = " or ".join(
    f'label_replace(sum by (site) (tableau_users{{@site,site_role=~".*{name}.*"}}), "site_role", "{name}", "", "")'
    for name in ("Creator", "Explorer", "Viewer")
)
SEATS = "sum by (site, site_role) (tableau_licensed_seats{@site})"
SHORT = {
    "@jobs_known": JOBS_KNOWN,
    "@here": HERE,
    "@site": SITE,
    "@asset": ASSET,
    "@id": ID,
    "@owned": f'and on ({ID}) tableau_asset_info{{{ASSET},content_owner=~"$content_owner"}}',
}


def promql(text: str) -> str:
    """Return an expression on one line with its short names expanded; KeyError for an unknown one."""
    return re.sub(r"@\w+", lambda match: SHORT[match[0]], " ".join(text.split()))


def error_rate(function: str, window: str, by: str = "") -> str:
    """Return the query for the fraction of requests with a server error, of those with an HTTP status.

    ``function`` is ``rate`` or ``increase``, ``by`` a label. It is 0 where no request failed, and has no result where
    none had a status.
    """
    grouping = f" by ({by}) " if by else ""
    errors, requests = (
        f"sum{grouping}({function}(tableau_http_requests_total{{@site,status_class{matcher}}}[{window}]))"
        for matcher in ('="5xx"', '!="unknown"')
    )
    return f"({errors} or 0 * {requests}) / ({requests} > 0)"
