"""The files of the simulated Activity Log: which there are, since when, and what is in each.

The events of a slot (an hour; a minute while the demo runs) are available some time after its end, in a file whose
path has the hour of that instant. As on the real thing, some come later:

    late   a tenth of the events of some hours is in the file of the same hour of the next day, or so
    past   a third of the events of some hours is in a second file, which appears a day later in an hour that is past

Which ones follows from the path, and so does the content of a file.
"""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from exporter.demo.tableau.activity_fields import Event
from exporter.demo.tableau.activity_story import TYPES, ActivityStory, Place, whole_hour, within
from exporter.demo.traffic import HOUR

MINUTE = timedelta(minutes=1)
LATE_BY = timedelta(hours=26)
PAST_BY = timedelta(hours=30)
REPEATED_AFTER = timedelta(hours=20)
# One slot in so many has late events, or a second file.
LATE_SLOTS, PAST_SLOTS = 24, 50
# One event in so many of such a slot is late, is in the second file, or is repeated.
LATE_SHARE, PAST_SHARE, REPEATED_SHARE = 10, 3, 10
MAIN, PAST, MINUTES = 1, 2, 100
REMEMBERED = 4_096
PATH = re.compile(
    r"^pod=(?P<pod>[^/]+)/siteLuid=(?P<site>[^/]+)/y=(\d{4})/m=(\d\d)/d=(\d\d)/h=(\d\d)"
    r"/eventType=(?P<type>[^/]+)/part-(?P<part>\d{4})\.json$"
)
# Lines that are no events, as they are found in logs of every kind; bytes, because one of them is no text.
NO_EVENTS = (
    b"this is no JSON",
    b'{"eventTime":"2026-03-01T10:00:00.000Z","eventType":"vizql_http_requ',
    b'["eventTime","eventType"]',
    b"null",
    b'"text"',
    b"42",
    b'{"eventTime":"2026-03-01T10:00:00.000Z","eventType":"vizql_http_request","requestUri":"\xff\xfe"}',
    b'{"eventTime":"2026-03-01T10:00:00.000Z" "eventType":"background_job"}',
)


class File(NamedTuple):
    """A file; ``begin`` and ``end`` are those of its slot, ``hour`` that of its path."""

    path: str
    site: Place
    type: str
    begin: datetime
    end: datetime
    part: int
    hour: datetime
    available_at: datetime


class ActivityFiles:
    """The log of a story from ``since`` (an hour) on; ``clock`` returns naive UTC.

    From ``live_since`` (an hour) on its slots are minutes. A file is available ``delay`` after the end of its slot
    and listed for as long as ``retention``.
    """

    def __init__(
        self,
        story: ActivityStory,
        since: datetime,
        clock: Callable[[], datetime],
        *,
        live_since: datetime | None = None,
        delay: timedelta = timedelta(minutes=10),
        retention: timedelta = timedelta(days=365),
        pod: str = "10az",
    ) -> None:
        self.story = story
        self.since = since
        self.delay = delay
        self.retention = retention
        self.clock = clock
        self._live_since = live_since
        self._pod = pod
        self._settled = lru_cache(REMEMBERED)(self._of_hour)

    @property
    def sites(self) -> Sequence[Place]:
        """The sites that have a log."""
        return self.story.sites

    def listed(
        self, site: Place, begin: datetime, end: datetime, kind: str | None = None, at: datetime | None = None
    ) -> list[File]:
        """Return the files listed at an instant whose paths have an hour from ``begin`` until before ``end``."""
        now = at or self.clock()
        found = []
        for hour in _hours(max(begin, now - self.retention), min(end, now + HOUR)):
            for event_type in (kind,) if kind else TYPES:
                # What the current hour has still grows.
                files = self._settled if hour + HOUR <= self.clock() else self._of_hour
                found += [file for file in files(site, event_type, hour) if file.available_at <= now]
        return found

    def find(self, path: str) -> File | None:
        """Return the file of a path, if it is available."""
        match = PATH.match(path)
        site = next((site for site in self.sites if match and site.luid == match["site"]), None)
        if match is None or site is None:
            return None
        hour = datetime(*(int(match[group]) for group in range(3, 7)))  # type: ignore[arg-type]  # noqa: DTZ001 - as all of these
        files = self.listed(site, hour, hour + HOUR, match["type"])
        return next((file for file in files if file.path == path), None)

    def events(self, file: File) -> list[Event]:
        """Return the events whose first record is in a file."""
        if file.part == PAST:
            return [event for event in self._slot(file.site, file.type, file.begin, file.end) if _is_past(event)]
        found = [
            event for event in self._slot(file.site, file.type, file.begin, file.end) if self._in_time(file, event)
        ]
        source = file.begin - LATE_BY
        if self._has_late(file.site, file.type, source):
            late = self._slot(file.site, file.type, source, source + HOUR)
            found += [event for event in late if _is_late(event) and not self._is_in_past(file, source, event)]
        return found

    def content(self, file: File, *, repeats: bool = False, no_events: int = 0) -> bytes:
        """Write a file; ``repeats`` adds records of the day before, ``no_events`` so many lines that are none."""
        events = self.events(file)
        if repeats:
            source = file.begin - REPEATED_AFTER
            if source >= self.since and source == whole_hour(source):
                slot = self._slot(file.site, file.type, source, source + HOUR)
                events += [event for event in slot if _number(event.key) % REPEATED_SHARE == 0]
        lines = [event.line(file.available_at).encode() for event in events]
        for number in range(no_events):
            lines.insert(number * 7 % (len(lines) + 1), NO_EVENTS[(number + _number(file.path)) % len(NO_EVENTS)])
        # Some files have no line feed at their end.
        return b"\n".join(lines) + (b"\n" if lines and _number(file.path) % 5 else b"")

    def truth(self, at: datetime | None = None) -> Counter[tuple[str, str, datetime]]:
        """Count the events in all files that are listed, by the LUID of the site, type and hour of the event."""
        found: Counter[tuple[str, str, datetime]] = Counter()
        for file in self.all_listed(at):
            found.update((file.site.luid, file.type, whole_hour(event.at)) for event in self.events(file))
        return found

    def all_listed(self, at: datetime | None = None) -> Iterator[File]:
        """Yield all files that are listed, site by site."""
        now = at or self.clock()
        for site in self.sites:
            yield from self.listed(site, self.since, now + HOUR, at=now)

    def _of_hour(self, site: Place, kind: str, hour: datetime) -> list[File]:
        """Return the files whose paths have this hour."""
        found = []
        for begin, end in self._slots(site, kind, hour - self.delay - HOUR, hour + HOUR - self.delay):
            if whole_hour(end + self.delay) == hour:
                part = MAIN if end - begin == HOUR else MINUTES + begin.minute
                found.append(self._file(site, kind, begin, end, part, hour))
        if self._has_past(site, kind, hour):
            found.append(self._file(site, kind, hour, hour + HOUR, PAST, hour))
        return found

    def _file(self, site: Place, kind: str, begin: datetime, end: datetime, part: int, hour: datetime) -> File:
        path = (
            f"pod={self._pod}/siteLuid={site.luid}/y={hour:%Y}/m={hour:%m}/d={hour:%d}/h={hour:%H}"
            f"/eventType={kind}/part-{part:04d}.json"
        )
        available_at = end + self.delay + (PAST_BY if part == PAST else timedelta())
        return File(path, site, kind, begin, end, part, hour, available_at)

    def _slots(self, site: Place, kind: str, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the slots that have a file.

        That of an hour may turn out to be empty, as some are; those of minutes would be mostly so.
        """
        for hour in _hours(max(since, self.since), until):
            late = self._has_late(site, kind, hour - LATE_BY)
            if not self._is_live(hour):
                if late or self.story.may_have(site, kind, hour):
                    yield hour, hour + HOUR
                continue
            minutes = {event.at.minute for event in self.story.events(site, kind, hour)} | ({0} if late else set())
            for minute in sorted(minutes):
                yield hour + minute * MINUTE, hour + (minute + 1) * MINUTE

    def _is_live(self, at: datetime) -> bool:
        return self._live_since is not None and at >= self._live_since

    def _slot(self, site: Place, kind: str, begin: datetime, end: datetime) -> Sequence[Event]:
        return within(self.story.events(site, kind, whole_hour(begin)), begin, end)

    def _in_time(self, file: File, event: Event) -> bool:
        late = _is_late(event) and self._has_late(file.site, file.type, file.begin)
        return not late and not self._is_in_past(file, file.begin, event)

    def _is_in_past(self, file: File, begin: datetime, event: Event) -> bool:
        return _is_past(event) and self._has_past(file.site, file.type, begin)

    def _has_late(self, site: Place, kind: str, hour: datetime) -> bool:
        return self._odd(site, kind, hour, "late", LATE_SLOTS)

    def _has_past(self, site: Place, kind: str, hour: datetime) -> bool:
        return self._odd(site, kind, hour, "past", PAST_SLOTS)

    def _odd(self, site: Place, kind: str, hour: datetime, what: str, one_in: int) -> bool:
        if hour < self.since or self._is_live(hour) or hour != whole_hour(hour):
            return False
        chosen = _number(f"{site.luid}/{kind}/{what}/{hour:%Y-%m-%dT%H}") % one_in == 0
        return chosen and self.story.may_have(site, kind, hour)


def _hours(begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the whole hours from ``begin`` until before ``end``."""
    hour = whole_hour(begin)
    if hour < begin:
        hour += HOUR
    while hour < end:
        yield hour
        hour += HOUR


def _is_late(event: Event) -> bool:
    return _number(event.key) % LATE_SHARE == 1


def _is_past(event: Event) -> bool:
    return _number(event.key) % PAST_SHARE == 0


def _number(text: str) -> int:
    return zlib.crc32(text.encode())
