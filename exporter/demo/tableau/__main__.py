"""``python -m exporter.demo.tableau``: the server in a process of its own, with an estate of any size.

It prints its URL on a line of its own once it answers, and ends when its standard input does, or at SIGTERM. With
``--activity-log-days`` it is Tableau Cloud with a small company instead, and a second line has the URL of its Tableau
Cloud Manager.
"""

import sys
from datetime import timedelta
from pathlib import Path

import click

from exporter.demo.company import Company
from exporter.demo.draft import SMALL
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.activity_story import ActivityStory, whole_hour
from exporter.demo.tableau.cloud_manager import CloudManager
from exporter.demo.tableau.estate import Estate, utc_now
from exporter.demo.tableau.server import TOKENS, TableauServer
from exporter.demo.users import SITES


@click.command()
@click.option("--workbooks", default=50_000, show_default=True)
@click.option("--datasources", default=20_000, show_default=True)
@click.option("--flows", default=0, show_default=True)
@click.option("--sites", default=3, show_default=True)
@click.option("--people", default=50, show_default=True, help="On each site.")
@click.option("--jobs", default=1_000, show_default=True)
@click.option("--port", default=0, help="0 chooses one.")
@click.option("--cloud", is_flag=True, help="Answer as Tableau Cloud does.")
@click.option("--token", default=next(iter(TOKENS.values())), show_default=True, help="Of the name exporter.")
@click.option("--activity-log-days", default=0, show_default=True, help="0 starts no Tableau Cloud Manager.")
@click.option("--requests-per-day", default=7_000, show_default=True, help="Of the company, in its activity log.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Keep the files of the activity log once they are made."
)
def main(  # noqa: PLR0913 - one for each option
    *,
    workbooks: int,
    datasources: int,
    flows: int,
    sites: int,
    people: int,
    jobs: int,
    port: int,
    cloud: bool,
    token: str,
    activity_log_days: int,
    requests_per_day: int,
    folder: Path | None,
) -> None:
    """Serve a counted estate until standard input ends."""
    if activity_log_days:
        _serve_cloud(activity_log_days, requests_per_day, min(sites, len(SITES)), port, token, folder)
        return
    estate = Estate.large(workbooks, datasources, flows=flows, sites=sites, people=people, jobs=jobs)
    with TableauServer(estate, port=port, cloud=cloud, tokens={"exporter": token}) as server:
        click.echo(server.url)
        sys.stdin.read()


def _serve_cloud(days: int, requests_per_day: int, sites: int, port: int, token: str, folder: Path | None) -> None:
    company = Company.build(1, utc_now(), SMALL)
    story = ActivityStory(company, sites=sites, requests_per_day=requests_per_day)
    files = ActivityFiles(story, whole_hour(company.now) - timedelta(days=days), utc_now)
    tokens = {"exporter": token}
    with (
        TableauServer(Estate.of(company), port=port, cloud=True, tokens=tokens) as server,
        CloudManager(files, folder=folder) as manager,
    ):
        click.echo(server.url)
        click.echo(manager.url)
        sys.stdin.read()


if __name__ == "__main__":
    main()
