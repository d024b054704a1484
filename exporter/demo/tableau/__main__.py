"""``python -m exporter.demo.tableau``: the server in a process of its own, with an estate of any size.

It prints its URL on a line of its own once it answers, and ends when its standard input does, or at SIGTERM.
"""

import sys

import click

from exporter.demo.tableau.estate import Estate
from exporter.demo.tableau.server import TOKENS, TableauServer


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
) -> None:
    """Serve a counted estate until standard input ends."""
    estate = Estate.large(workbooks, datasources, flows=flows, sites=sites, people=people, jobs=jobs)
    with TableauServer(estate, port=port, cloud=cloud, tokens={"exporter": token}) as server:
        click.echo(server.url)
        sys.stdin.read()


if __name__ == "__main__":
    main()
