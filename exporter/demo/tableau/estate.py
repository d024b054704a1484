"""Sources of facts: a company as it was built, a live one, the repository itself, or a generated one."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random

from exporter.demo.company import Company
from exporter.demo.tableau.facts import Facts
from exporter.demo.tableau.large import large
from exporter.demo.tableau.memory_estate import LiveCompany
from exporter.demo.tableau.oddities import Oddities, odd
from exporter.demo.tableau.repository_facts import to_facts
from exporter.demo.tableau.repository_reader import Reading


def utc_now() -> datetime:
    """Return the time as the facts have it: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


class Estate:
    """The facts that the server reports; ``source`` is called for each request, and may return the same object again.

    ``oddities`` may be replaced at any time; they are on at first.
    """

    def __init__(self, source: Callable[[], Facts]) -> None:
        self._source = source
        self.oddities = Oddities()
        self._odd: tuple[Facts, Oddities, Facts] | None = None

    def facts(self) -> Facts:
        """Return the current facts, with their oddities; the same object while nothing changed."""
        facts, oddities = self._source(), self.oddities
        if self._odd is None or self._odd[0] is not facts or self._odd[1] != oddities:
            self._odd = facts, oddities, odd(facts, oddities)
        return self._odd[2]

    def plain(self) -> "Estate":
        """Switch all oddities off."""
        self.oddities = Oddities.none()
        return self

    @classmethod
    def still(cls, facts: Facts) -> "Estate":
        """Return an estate with constant facts."""
        return cls(lambda: facts)

    @classmethod
    def of(cls, company: Company) -> "Estate":
        """Return the estate of a company as it was built: the same as its simulated repository, and as constant."""
        return cls.still(to_facts(company.tables))

    @classmethod
    def living(
        cls, company: Company, random: Random | None = None, clock: Callable[[], datetime] = utc_now
    ) -> "Estate":
        """Return the estate of a company whose extracts are refreshed meanwhile, without any repository."""
        return cls(LiveCompany(company, random or Random(), clock).facts)

    @classmethod
    def reading(cls, parameters: Mapping[str, str | int], version: str) -> "Estate":
        """Return the estate that a simulated repository of a version has now."""
        return cls(Reading(parameters, version).facts)

    @classmethod
    def large(
        cls,
        workbooks: int = 50_000,
        datasources: int = 20_000,
        *,
        flows: int = 0,
        sites: int = 3,
        people: int = 50,
        jobs: int = 1_000,
        now: datetime | None = None,
    ) -> "Estate":
        """Report so many assets, see ``large.py``; the facts of each follow from its number."""
        at = (now or utc_now()).replace(microsecond=0)
        return cls.still(large(workbooks, datasources, flows=flows, sites=sites, people=people, jobs=jobs, now=at))
