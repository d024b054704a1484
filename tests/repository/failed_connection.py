"""An attempt to reach a repository that must fail, and the rules for every line about it."""

from dataclasses import dataclass

import pytest

from exporter.errors import SourceError, SourceRefused
from exporter.repository.client import Address, RepositoryClient, RepositoryOptions
from tests.repository.conftest import PASSWORD

LONGEST_LINE = 600
ENABLE = "tsm data-access repository-access enable --repository-username readonly"


@dataclass(frozen=True)
class Case:
    """A way to log in that the server refuses, and the line for it."""

    server_words: str = ""
    advice: str = ""
    kind: type[SourceError] = SourceRefused
    user: str = "agent"
    database: str = "workgroup"
    sslmode: str = "disable"
    password: str | None = PASSWORD
    access: str = "host all all all scram-sha-256"
    """pg_hba.conf, after the line of the superuser."""


ANY = Case()


def failure(port: int, host: str = "127.0.0.1", case: Case = ANY) -> SourceError:
    """Return why there is no session; the line is one line, names the host, and has no secret."""
    tls = (("sslmode", case.sslmode),)
    login = RepositoryOptions(
        (Address(host, port),), case.database, case.user, lambda: case.password, tls, connect_timeout=2.0
    )
    with pytest.raises(SourceError) as caught, RepositoryClient(login).session():
        pass
    line = str(caught.value)
    assert line.startswith(f"repository {host}:{port}: ")
    assert line.isprintable()
    assert len(line) <= LONGEST_LINE
    assert case.password is None or case.password not in line
    return caught.value
