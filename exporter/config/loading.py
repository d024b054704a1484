"""Load the configuration from the file, the environment and the command line, or report every fault of them."""

import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from exporter.config import keys, settings_sources
from exporter.config.configuration import Configuration, ValidationContext
from exporter.config.errors import explain
from exporter.errors import ConfigurationError, Fault
from exporter.yaml_loader import parse, read_text

DEFAULT_FILE = Path("tableau-exporter.yml")
SYSTEM_FILE = Path("/etc/tableau-exporter/tableau-exporter.yml")


@dataclass(frozen=True)
class RunOptions:
    """The options of a command: enough to load the configuration again in the same way.

    ``overrides`` maps dotted keys to text, as the flags of the command line set them. With ``disable_collectors`` those
    that no source of the configuration enables are disabled.
    """

    config_file: Path = DEFAULT_FILE
    config_file_explicit: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    disable_collectors: bool = False

    def load(self, collector_names: Collection[str], sections: Collection[str] | None = None) -> Configuration:
        """Read the configuration, or some sections of it; raises ConfigurationError with every fault."""
        return load(
            self.config_file,
            self.environ,
            collector_names,
            explicit=self.config_file_explicit,
            overrides=self.overrides,
            sections=sections,
            disable_collectors=self.disable_collectors,
        )


def default_file() -> Path:
    """Return the file of a command without ``--config.file``: in the working directory, otherwise the system's."""
    return SYSTEM_FILE if _is_there(SYSTEM_FILE) and not _is_there(DEFAULT_FILE) else DEFAULT_FILE


def load(
    path: Path | None,
    environ: Mapping[str, str],
    collector_names: Collection[str],
    *,
    explicit: bool,
    overrides: Mapping[str, str] | None = None,
    sections: Collection[str] | None = None,
    disable_collectors: bool = False,
) -> Configuration:
    """Read the configuration; raises ConfigurationError with every fault.

    A file that was not named explicitly may be absent where the environment gives a source; with ``path`` None there is
    no file. With ``sections`` the others are as if they were not there: what they name need not be readable.
    """
    variables, faults = settings_sources.from_environment(Configuration, environ)
    variables += settings_sources.from_command_line(overrides or {})
    outside, of_variables = settings_sources.to_document(Configuration, variables)
    faults += settings_sources.name_origins(of_variables, variables)
    try:
        inside, of_file = _read(path, explicit=explicit)
    except ConfigurationError as error:
        raise ConfigurationError([*error.faults, *faults]) from None
    defaults = {"collectors": dict.fromkeys(collector_names, False)} if disable_collectors else {}
    document = settings_sources.merge(settings_sources.merge(defaults, inside), outside)
    faults = [*of_file, *faults]
    if sections is None:
        faults += [*_without_source(document, path), *_without_server(document)]
    else:
        document = {name: section for name, section in document.items() if name in sections}
    circumstances = ValidationContext(collector_names, exposed=_is_exposed(path, inside))
    try:
        configuration = Configuration.model_validate(document, context=circumstances)
    except ValidationError as error:
        found = explain(Configuration, error.errors(include_url=False, include_input=False))
        raise ConfigurationError([*faults, *settings_sources.name_origins(found, variables)]) from None
    if faults:
        raise ConfigurationError(faults)
    return configuration


def _read(path: Path | None, *, explicit: bool) -> tuple[settings_sources.Document, list[Fault]]:
    """Return the document of the file; raises ConfigurationError where it cannot be parsed."""
    if path is None or not (explicit or _is_there(path)):
        return {}, []
    try:
        content, faults = parse(read_text(path), str(path))
    except UnicodeDecodeError:
        raise ConfigurationError([Fault(str(path), "is not UTF-8 text")]) from None
    except OSError as error:
        raise ConfigurationError([Fault(str(path), f"cannot be read: {error.strerror}")]) from None
    if not isinstance(content, dict | None):
        raise ConfigurationError([Fault(str(path), "must be a mapping of sections")])
    return content or {}, faults


def _is_there(path: Path) -> bool:
    """Whether there is a file; in a working directory that this user may not search there is none."""
    try:
        return path.exists()
    except OSError:
        return False


def _without_source(document: Mapping[str, object], path: Path | None) -> list[Fault]:
    if not {"repository", "rest", "activity_log"}.isdisjoint(document):
        return []
    if path is None or _is_there(path):
        return [Fault("repository", "is missing: configure repository, rest or activity_log")]
    return [
        Fault(
            str(path),
            f"no such file: write one, or set {settings_sources.PREFIX}REPOSITORY__HOSTS and what else is needed",
        )
    ]


def _without_server(document: Mapping[str, object]) -> list[Fault]:
    exports = document.get("exports")
    if "rest" in document or not isinstance(exports, list):
        return []
    publishing = (i for i, export in enumerate(exports) if isinstance(export, Mapping) and "publish" in export)
    return [Fault(f"exports.{i}.publish", "needs rest.url: the server that is published to") for i in publishing]


def _is_exposed(path: Path | None, document: Mapping[str, object]) -> bool:
    """Whether everybody on the machine may read a secret in this file."""
    if path is None or os.name != "posix" or not keys.holds_secret(Configuration, document):
        return False
    return bool(path.stat().st_mode & stat.S_IROTH)
