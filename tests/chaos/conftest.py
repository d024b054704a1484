"""A company's repository in a fresh database, for sequences of faults."""

import pytest

from exporter.demo.postgres import Postgres
from tests.support.source import source, template

__all__ = ["source", "template"]


@pytest.fixture
def postgres(postgres15: Postgres) -> Postgres:
    """Debian's PostgreSQL."""
    return postgres15
