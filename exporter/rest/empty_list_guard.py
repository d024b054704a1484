"""Guard against empty lists: one that fell from some assets to none is an error until it was empty for a day."""

from collections.abc import Callable, Mapping

from exporter.errors import SourceIncomplete

EMPTY_SECONDS = 86_400.0

Key = tuple[str, str]

_NAMES = {"workbook": "workbooks", "datasource": "datasources", "flow": "flows"}


class EmptyListGuard:
    """The counts of the last good poll, by site and type."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: dict[Key, int] = {}
        self._empty_since: dict[Key, float] = {}

    def remember(self, counts: Mapping[Key, int]) -> None:
        """Restore the counts from before a restart; newer ones stay."""
        self._counts = {**counts, **self._counts}

    def check(self, place: str, site: str, counts: Mapping[str, int]) -> None:
        """Accept new counts. Raises SourceIncomplete for a list that is suddenly empty."""
        now = self._clock()
        for asset_type, count in counts.items():
            before = self._counts.get((site, asset_type), 0)
            if count or not before:
                self._empty_since.pop((site, asset_type), None)
            elif now - self._empty_since.setdefault((site, asset_type), now) < EMPTY_SECONDS:
                raise SourceIncomplete(
                    f"{place}: the list of {_NAMES.get(asset_type, asset_type)} is empty, there were {before}; not"
                    " believed before it has been empty for 24 h: check what the token's user may see"
                )
        for asset_type, count in counts.items():
            self._empty_since.pop((site, asset_type), None)
            self._counts[(site, asset_type)] = count
