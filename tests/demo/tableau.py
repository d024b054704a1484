"""Shared by the tests of the simulated Tableau: tableauserverclient, which is typed in part, as its client."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tableauserverclient as tsc

from exporter.demo.tableau.facts import Content, Site
from exporter.demo.tableau.server import TOKENS, TableauServer

((NAME, VALUE),) = TOKENS.items()
PATIENCE_SECONDS = 30


def client(tableau: TableauServer, **options: object) -> Any:  # noqa: ANN401 - tableauserverclient is typed in part
    """Return a client that is not signed in yet."""
    return tsc.Server(tableau.url, use_server_version=True, http_options={"timeout": PATIENCE_SECONDS, **options})


@contextmanager
def signed_in(tableau: TableauServer, site: str = "") -> Iterator[Any]:
    """Sign in with the personal access token; sign out only by closing the connections."""
    server = client(tableau)
    try:
        server.auth.sign_in(tsc.PersonalAccessTokenAuth(NAME, VALUE, site_id=site))
        yield server
    finally:
        server.close()


def by_url(tableau: TableauServer, url: str = "") -> Site:
    """Return the facts of one site."""
    return next(site for site in tableau.facts() if site.url == url)


def latest(item: Content) -> str | None:
    """Return when the extracts of an item were refreshed last, as the Metadata API writes it."""
    instants = [at for source in item.sources for at in (source.refreshed_at, source.incremented_at) if at]
    return f"{max(instants).isoformat(timespec='seconds')}Z" if instants else None
