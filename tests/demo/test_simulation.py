"""The whole simulated repository."""

from exporter.demo.simulation import Simulation
from exporter.repository.connection import connect


def test_the_repository_is_ready_for_both_roles(simulation: Simulation) -> None:
    """Inside the block, readonly finds the tables filled and tableau the views."""
    with connect(simulation.parameters("readonly")) as readonly, connect(simulation.parameters("tableau")) as tableau:
        requests = readonly.execute("SELECT count(*) FROM http_requests").fetchone()
        assert requests == tableau.execute("SELECT count(*) FROM _http_requests").fetchone()
        assert requests is not None
        assert requests[0] > 1000


def test_a_password_belongs_to_each_role(simulation: Simulation) -> None:
    """The two roles have passwords of their own."""
    assert simulation.passwords["readonly"] != simulation.passwords["tableau"]
    assert simulation.parameters()["user"] == "readonly"
