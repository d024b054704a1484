"""The configuration of the demo's agent, in the demo's folder, where it can be read."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from exporter.demo.simulated import Simulated
from exporter.demo.simulation import Simulation


def configured(simulated: Simulated, folder: Path, port: int, token: str, alertmanagers: Sequence[str] = ()) -> Path:
    """Write the configuration of an agent that signs in with a token, and return where it stands.

    ``alertmanagers`` are the addresses of those that it notifies itself.
    """
    configuration: dict[str, object] = {}
    if simulated.repository is not None:
        configuration["repository"] = _repository(simulated.repository, folder)
    configuration |= {
        "rest": {
            "url": simulated.tableau.url,
            **_sites(simulated),
            "token_name": token,
            "token_value_file": str(_secret(folder / f"token-{token}", simulated.tokens[token])),
            "poll_interval": "10s",
        },
        "history": {"path": str(folder / "history.duckdb")},
        "collectors": {"views": True},
        "web": {"listen_address": f"127.0.0.1:{port}"},
    }
    if alertmanagers:
        configuration["alertmanager"] = {"urls": list(alertmanagers)}
    path = folder / f"{token}.yml"
    path.write_text(yaml.safe_dump(configuration, sort_keys=False))
    return path


def _sites(simulated: Simulated) -> dict[str, object]:
    """Name the sites of Tableau Cloud, which lets nobody list them."""
    if simulated.repository is not None:
        return {}
    return {"sites": [site.url or "default" for site in simulated.tableau.facts()]}


def _repository(simulation: Simulation, folder: Path) -> dict[str, object]:
    return {
        "hosts": [f"{simulation.host}:{simulation.port}"],
        "database": simulation.database,
        "password_file": str(_secret(folder / "password", simulation.passwords["readonly"])),
        "sslmode": "disable",
        "poll_interval": "5s",
        "exact_interval": "30s",
    }


def _secret(path: Path, value: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(value)
    return path
