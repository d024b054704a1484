"""The query of the asset table: filters and order, as sweeps over its columns at one instant."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from exporter.collectors.assets.status import CRITICAL, HEALTHY, LIVE, STATUSES, UNKNOWN, WARNING
from exporter.pagedata.asset_table import AssetTable, Judged, Mask, Numbers, Places
from exporter.pagedata.builder import AssetKey, PageData
from exporter.web.query_params import Parameters, WrongParameter

COLUMNS = {
    "name": "Asset",
    "type": "Type",
    "site": "Site",
    "project": "Project",
    "owner": "Owner",
    "status": "Status",
    "hours": "Hours since refresh",
    "warning": "Warning after",
    "critical": "Critical after",
    "refreshed": "Last refresh",
    "next": "Next refresh",
    "failures": "Consecutive failures",
    "users": "Users this week",
}
"""The sortable columns and their titles, in the order of the table."""
FIGURES = ("hours", "warning", "critical", "failures", "users")
TYPES = ("workbook", "datasource", "flow")
ORDERS = ("asc", "desc")
ROWS = ("25", "100", "500")
PARAMETERS = ("q", "site", "project", "status", "type", "owner", "alert", "sort", "order", "rows", "page", "format")
WORDS = 8
"""The most different words of a search: each is a sweep over every asset."""
# The most overdue first.
_WORST = (CRITICAL, WARNING, UNKNOWN, HEALTHY, LIVE)
_RANKS = np.array([_WORST.index(status) for status in STATUSES], dtype=np.int8)


@dataclass(frozen=True)
class Choice:
    """The query parameters of the page; an empty text is no filter."""

    q: str = ""
    site: str = ""
    project: str = ""
    status: tuple[str, ...] = ()
    type: str = ""
    owner: str = ""
    alert: str = ""
    """The name of an alert, alone or with a severity behind it."""
    sort: str = "status"
    order: str = "asc"
    rows: str = "100"

    @classmethod
    def of(cls, parameters: Parameters) -> "Choice":
        """Parse the parameters of a page. Raises WrongParameter."""
        q = parameters.text("q")
        if len(_words(q)) > WORDS:
            raise WrongParameter(f"q has more than {WORDS} words; search for fewer.")
        return cls(
            q,
            parameters.text("site"),
            parameters.text("project"),
            parameters.choices("status", STATUSES),
            parameters.choice("type", TYPES, ""),
            parameters.text("owner"),
            parameters.text("alert"),
            parameters.choice("sort", tuple(COLUMNS), "status"),
            parameters.choice("order", ORDERS, "asc"),
            parameters.choice("rows", ROWS, "100"),
        )

    @property
    def is_filtered(self) -> bool:
        """Whether anything was left out."""
        filters = (self.q, self.site, self.project, self.status, self.type, self.owner, self.alert)
        return any(filters)

    def pairs(self) -> list[tuple[str, str]]:
        """Return the query parameters without default values."""
        defaults = Choice()
        texts = ("q", "site", "project", "type", "owner", "alert", "sort", "order", "rows")
        found = [(name, getattr(self, name)) for name in texts if getattr(self, name) != getattr(defaults, name)]
        return found + [("status", status) for status in self.status]


def alerted(pages: PageData, choice: Choice) -> Sequence[AssetKey] | None:
    """Return the assets that the chosen alert fires about; None where none was chosen. Raises WrongParameter."""
    if not choice.alert:
        return None
    if pages.firing is None:
        raise WrongParameter("alert is not available: the agent evaluates no alert rules.")
    return [
        key
        for key, alerts in pages.firing_of.items()
        if any(choice.alert in {alert.name, alert.rule} for alert in alerts)
    ]


def chosen(table: AssetTable, judged: Judged, choice: Choice, among: Iterable[AssetKey] | None = None) -> Places:
    """Return the rows that match, in the requested order, equal ones by name; ``among`` are those allowed.

    What is not a number comes last in both orders. Of one status those with most users come first, of these the
    oldest.
    """
    fits = _fitting(table, judged, choice)
    if among is not None:
        allowed = np.zeros(len(table), dtype=np.bool_)
        allowed[[table.places[key] for key in among if key in table.places]] = True
        fits &= allowed
    rows = table.by_name[fits[table.by_name]]
    key = _sort_key(table, judged, choice.sort)[rows]
    if choice.order == "desc":
        key = -key
    if choice.sort == "status":
        impact = (-np.nan_to_num(judged.hours[rows]), -np.nan_to_num(table.users[rows]), key)
        return rows[np.lexsort(impact)]
    return rows[np.argsort(key, kind="stable")]


def _words(q: str) -> Sequence[str]:
    return tuple(dict.fromkeys(q.casefold().split()))


def _fitting(table: AssetTable, judged: Judged, choice: Choice) -> Mask:
    fits = np.ones(len(table), dtype=np.bool_)
    for word in _words(choice.q):
        texts = (table.name, table.project, table.owner, table.site)
        fits &= np.logical_or.reduce([column.containing(word) for column in texts])
        if not fits.any():
            return fits
    if choice.site:
        fits &= table.site.equal(choice.site)
    if choice.project:
        fits &= table.project.within(choice.project)
    if choice.owner:
        fits &= table.owner.equal(choice.owner)
    if choice.type:
        fits &= table.asset_type.equal(choice.type)
    if choice.status:
        fits &= np.isin(judged.status, [STATUSES.index(status) for status in choice.status])
    return fits


def _sort_key(table: AssetTable, judged: Judged, name: str) -> Numbers:
    texts = {
        "name": table.name,
        "type": table.asset_type,
        "site": table.site,
        "project": table.project,
        "owner": table.owner,
    }
    if name in texts:
        return texts[name].numbers.astype(np.float64)
    numbers = {
        "hours": judged.hours,
        "warning": table.warning,
        "critical": table.critical,
        "refreshed": table.refreshed,
        "next": table.following,
        "failures": table.failures,
        "users": table.users,
    }
    return _RANKS[judged.status].astype(np.float64) if name == "status" else numbers[name]
