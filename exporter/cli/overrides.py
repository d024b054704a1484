"""Flags that override keys of the configuration, and those that switch collectors on and off."""

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import exporter
from exporter.cli.common import DISABLE_DEFAULTS, Command, Once, note_override

_ON, _OFF = "--collector.", "--no-collector."


def override(flag: str, key: str | None = None, **attributes: Any) -> Callable[[Command], Command]:
    """Add a flag that sets a key of the configuration, by default the one of its own name."""
    name = key or flag.removeprefix("--").replace("-", "_")

    def note(_ctx: click.Context, _param: click.Parameter, value: Any) -> None:  # noqa: ANN401 - by the flag's type
        text = ",".join(value) if isinstance(value, tuple) else str(value).lower() if value is True else value
        if text:
            note_override(name, text)

    return click.option(flag, name.replace(".", "_"), callback=note, expose_value=False, **attributes)


def web_options(command: Command) -> Command:
    """Add the flags that Prometheus' exporters have for their web server."""
    flags = (
        override("--web.listen-address", metavar="HOST:PORT", multiple=True, help=(
            "Overrides web.listen_address; may be given several times, to listen on each.")),
        override("--web.systemd-socket", is_flag=True, help=(
            "Listen on the sockets of a systemd .socket unit instead of web.listen_address.")),
        override("--web.telemetry-path", metavar="PATH", help="Overrides web.telemetry_path."),
        override("--web.external-url", metavar="URL", help="Overrides web.external_url."),
        override("--web.route-prefix", metavar="PATH", help="Overrides web.route_prefix."),
        override("--web.config.file", "web.config_file", metavar="FILE", help="Overrides web.config_file."),
    )  # fmt: skip
    for flag in reversed(flags):
        command = flag(command)
    return command


def collector_options(command: Command) -> Command:
    """Add ``--[no-]collector.NAME`` for each collector, and ``--collector.disable-defaults``."""
    for name in reversed(_names()):
        command = _switch(name)(command)
    return click.option(
        f"{_ON}disable-defaults",
        DISABLE_DEFAULTS,
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, param, value: ctx.meta.update({param.name: value}),
        help="Disable each collector that neither the configuration nor another flag enables.",
    )(command)


class WithCollectors(Once):
    """A command with the flags of collectors, which lists the collectors where one is unknown."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments. Raises click.UsageError."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not error.option_name.startswith((_ON, _OFF)):
                raise
            name = error.option_name.partition("collector.")[2]
            # Without a context it is one line.
            raise click.UsageError(f"unknown collector {name}: the known are {', '.join(_names())}") from None


def _switch(name: str) -> Callable[[Command], Command]:
    key = f"collectors.{name}"

    def note(_ctx: click.Context, _param: click.Parameter, value: bool | None) -> None:  # noqa: FBT001 - click's order
        if value is not None:
            note_override(key, str(value).lower())

    return click.option(
        f"{_ON}{name}/{_OFF}{name}",
        f"collector_{name}",
        default=None,
        callback=note,
        expose_value=False,
        help=f"Overrides {key}.",
    )


def _names() -> list[str]:
    """Return the names of the collectors, of which none is imported here."""
    folder = Path(exporter.__file__).parent / "collectors"
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_"))
