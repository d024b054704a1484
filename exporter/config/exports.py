"""What the agent itself exports, where to, and how often: by the same names as the flags of ``history export``."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from exporter.config import keys, value_types
from exporter.config.sections import Section
from exporter.exports import FORMATS, TABLES, TEXT_FILES, arguments
from exporter.texts import safe_uri
from exporter.units import parse_instant

PUBLISHED_FORMAT = "hyper"


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise ValueError(f"must be one of {', '.join(FORMATS)}")
    return name


Format = Annotated[value_types.Text, AfterValidator(_known_format)]
Outputs = Annotated[
    tuple[value_types.Text, ...], value_types.from_list(), Field(min_length=1), AfterValidator(value_types.each_once)
]
Instant = Annotated[datetime, value_types.from_text(parse_instant)]
Delimiter = Annotated[str, value_types.from_text(arguments.parse_delimiter)]


class Publish(Section):
    """The data source that a ``.hyper`` file is published as, at ``rest.url``, with a token of its own."""

    site: value_types.Text = "default"
    project: value_types.Text
    name: value_types.Text
    token_name: value_types.Text
    token_value: value_types.SecretText | None = None
    token_value_file: value_types.SecretFile | None = Field(default=None, validate_default=True)

    _no_twin = field_validator("token_value_file")(value_types.no_twin)
    _one_twin = field_validator("token_value_file")(value_types.one_twin)

    def plain(self) -> dict[str, str]:
        """Return the keys of another process, which reads the file of the token by itself."""
        kept = {name: getattr(self, name) for name in ("site", "project", "name", "token_name")}
        if self.token_value is not None:
            return {**kept, "token_value": self.token_value.get_secret_value()}
        return {**kept, "token_value_file": str(self.token_value_file)}

    def read_token_value(self) -> str | None:
        """Return the token as it is now."""
        return value_types.read_secret(self.token_value, self.token_value_file, "exports[].publish.token_value_file")


class Export(Section):
    """One table, or every file of the format text, to one output or several."""

    format: Format
    table: value_types.Text | None = Field(default=None, validate_default=True)
    output: Outputs
    every: value_types.Interval
    since: Instant | None = None
    timezone: value_types.Timezone | None = None
    delimiter: Delimiter | None = None
    publish: Publish | None = None

    @field_validator("table")
    @classmethod
    def _table_of_format(cls, table: str | None, info: ValidationInfo) -> str | None:
        if "format" in info.data:
            try:
                arguments.check_table(info.data["format"], table)
            except ValueError as error:
                meant = "" if table in TEXT_FILES else keys.suggestion(table or "", TABLES)
                raise ValueError(f"{error}{meant}") from None
        return table

    @field_validator("output")
    @classmethod
    def _output_of_format(cls, output: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for target in output:
            arguments.check_target(info.data.get("format", ""), target)
        return output

    @field_validator("since")
    @classmethod
    def _since_of_table(cls, since: datetime | None, info: ValidationInfo) -> datetime | None:
        table = TABLES.get(info.data.get("table") or "")
        if table is not None and table.at is None:
            raise ValueError("bounds nothing: the table has no time")
        return since

    @field_validator("timezone", "delimiter", "publish")
    @classmethod
    def _for_format(cls, value: object, info: ValidationInfo) -> object:
        wanted = PUBLISHED_FORMAT if info.field_name == "publish" else "text"
        if value is not None and info.data.get("format", wanted) != wanted:
            raise ValueError(f"is for the format {wanted} alone")
        return value

    @property
    def form(self) -> dict[str, str]:
        """How values are written, as far as that is configured."""
        form = {"timezone": self.timezone, "delimiter": self.delimiter}
        return {name: value for name, value in form.items() if value is not None}

    @property
    def names(self) -> tuple[tuple[str, str, str], ...]:
        """Each table, with the format and the output, as the metrics name them: without credentials."""
        tables = arguments.tables_of(self.format, self.table)
        return tuple((table, self.format, safe_uri(target)) for target in self.output for table in tables)


def _each_table_once(exports: tuple[Export, ...]) -> tuple[Export, ...]:
    """Refuse two exports of one table to one output: the two would have the same series."""
    first: dict[tuple[str, str, str], int] = {}
    for index, export in enumerate(exports):
        for name in export.names:
            if first.setdefault(name, index) != index:
                raise ValueError(
                    f"write the same table to the same output, in places {first[name]} and {index} (from 0)"
                )
    return exports


Exports = Annotated[tuple[Export, ...], AfterValidator(_each_table_once)]
