"""Why the usage page lacks something: one sentence with the reason."""

from collections.abc import Container

from exporter.exposition.pages import Content, Pages
from exporter.web.environment import minute

DAY_SECONDS = 86_400.0
ONLY_A_REPOSITORY = (
    "Requests are read only from the repository of Tableau Server, and none is configured: there is no data on"
    " requests, active users and opened content."
)

NOT_ASKED = (
    "Opened content has not been read from the history yet: the list appears after one of the next polls. If not, see"
    " the agent's log."
)


def why_no_requests(pages: Pages, sources: Container[str]) -> str:
    """Return why no requests are shown, empty where they are; ``sources`` are the names of those that are polled."""
    if "repository" not in sources:
        return ONLY_A_REPOSITORY
    if "http_requests" not in pages.watched:
        return "The collector http_requests is disabled: there is no data on requests and opened content."
    if pages.use is None:
        return "No requests have been counted yet: they appear after the first poll."
    return ""


def why_no_content(pages: Pages, listed: Content | None, unused_days: int) -> str:
    """Return why a list of content is not shown where requests are, empty where it is; 0 days for opened content."""
    if "content" not in pages.watched:
        return "The collector content is disabled: there is no data on opened workbooks."
    if listed is None:
        return NOT_ASKED
    known = known_from(pages, unused_days)
    if known is None:
        return "No opened view has been seen yet, so it is unknown what was not opened."
    if known > listed.asked_at:
        return (
            f"What was not opened for {unused_days} days is known from {minute(known)[:10]} on: opens are counted"
            f" since {minute(known - unused_days * DAY_SECONDS)[:10]} only."
        )
    return ""


def known_from(pages: Pages, unused_days: int) -> float | None:
    """Return from when on a list is known (Unix seconds), None where unknown; opened content always is."""
    if not unused_days:
        return 0.0
    since = None if pages.use is None else pages.use.loads_since
    return None if since is None else since + unused_days * DAY_SECONDS
