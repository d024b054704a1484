"""The probe of `check`: everything that a poll of the Activity Log does, for the last day of each site."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from exporter.activity_log.client import ActivityLogClient
from exporter.activity_log.errors import Forbidden
from exporter.activity_log.files import CloudSite
from exporter.errors import SourceError

DAY = timedelta(days=1)
ProbeResult = tuple[bool | None, str]
"""True for good, False for bad, None for a note; and a line."""


def probe(client: ActivityLogClient) -> Iterator[ProbeResult]:
    """Sign in, list, and fetch a file. Raises SourceError where no sign-in succeeds."""
    client.begin()
    client.sign_in()
    found = client.sites()
    yield True, f"Tableau Cloud Manager answers, {len(found.sites)} sites are read"
    for note in found.notes:
        yield None, note
    now = client.source_at or datetime.now(UTC).replace(tzinfo=None)
    for site in found.sites:
        yield _site(client, site, now)


def _site(client: ActivityLogClient, site: CloudSite, now: datetime) -> ProbeResult:
    """List the files of a site's last day, and fetch the first: its store is another host."""
    try:
        files = client.files(site, now - DAY, now).files
    except Forbidden as error:
        return False, f"site {site.name}: {error}: the Activity Log is not in this edition, or not for this token"
    except SourceError as error:
        return False, f"site {site.name}: {error}"
    if not files:
        return None, f"site {site.name}: no file of the last day: not in this edition, or nothing has happened"
    for download in client.download(site, files[:1]):
        if download.content is None:
            return False, f"site {site.name}: lists {len(files):,} files, and the first was not read: {download.error}"
        download.content.close()
    return True, f"site {site.name}: {len(files):,} files of the last day, and they can be read"
