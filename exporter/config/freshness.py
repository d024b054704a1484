"""The section ``freshness``: the SLA of each asset, which is how old its data may become."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from exporter.config import value_types
from exporter.config.sections import Section

AssetTypes = Annotated[
    tuple[Literal["workbook", "datasource", "flow"], ...], value_types.from_list(), Field(min_length=1)
]


@dataclass(frozen=True)
class SlaRule:
    """Seconds after which an asset that matches is stale; None stands for never.

    ``match`` maps a field of the asset to globs, of which one must fit; the asset must fit in every field.
    """

    match: Mapping[str, tuple[str, ...]]
    warning: float | None
    critical: float | None


class Match(Section):
    """The assets that a rule matches."""

    site: value_types.Globs | None = None
    project: value_types.Globs | None = None
    asset_type: AssetTypes | None = None
    name: value_types.Globs | None = None
    tag: value_types.Globs | None = None
    content_owner: value_types.Globs | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> "Match":
        if not self.model_fields_set:
            raise ValueError(f"matches nothing: give one of {', '.join(type(self).model_fields)}")
        return self

    def globs(self) -> Mapping[str, tuple[str, ...]]:
        """Return the globs of each field that is matched."""
        return {field: globs for field, globs in self if globs}


class Rule(Section):
    """The SLA of some assets; a tier that it leaves out is the default's."""

    match: Match
    warning: value_types.Age | None = None
    critical: value_types.Age | None = Field(default=None, validate_default=True)

    @field_validator("critical")
    @classmethod
    def _tiers(cls, critical: float | None, info: ValidationInfo) -> float | None:
        warning = info.data.get("warning", value_types.NEVER)
        if warning is None and critical is None:
            raise ValueError("is missing: a rule sets warning, critical or both")
        if critical is not None and critical < (warning or 0.0) < value_types.NEVER:
            raise ValueError("is shorter than warning")
        return critical


class Freshness(Section):
    """The default SLA and the rules; the first rule that matches wins.

    ``schedule_grace`` is how long after its schedule's time a refresh may come. ``timezone`` is the time zone of sites
    whose own is unknown.
    """

    warning: value_types.Age = 12 * 3600.0
    critical: value_types.Age = Field(default=24 * 3600.0, validate_default=True)
    schedule_grace: value_types.Duration = 3600.0
    timezone: value_types.Timezone = "UTC"
    rules: tuple[Rule, ...] = ()

    @field_validator("critical")
    @classmethod
    def _tiers(cls, critical: float, info: ValidationInfo) -> float:
        if critical < info.data.get("warning", 0.0) < value_types.NEVER:
            raise ValueError("is shorter than warning; the defaults are warning 12h and critical 24h")
        return critical

    def sla_rules(self) -> tuple[SlaRule, ...]:
        """Return the rules in the order in which they are tried; the last is the default and matches everything."""
        rules = [self._sla_rule(rule.match.globs(), rule.warning, rule.critical) for rule in self.rules]
        return (*rules, self._sla_rule({}, None, None))

    def _sla_rule(self, match: Mapping[str, tuple[str, ...]], warning: float | None, critical: float | None) -> SlaRule:
        tiers = (self.warning if warning is None else warning, self.critical if critical is None else critical)
        return SlaRule(match, *(None if tier == value_types.NEVER else tier for tier in tiers))
