"""Why the page of use does not show something: one sentence that says what would have to be otherwise."""

from collections.abc import Container

from exporter.pagedata.builder import Content, PageData
from exporter.web.environment import minute

DAY_SECONDS = 86_400.0
ONLY_A_REPOSITORY = (
    "The agent reads requests only from the repository of Tableau Server, and none is configured: nothing is known of"
    " requests and active users, nor of what is opened."
)

NOT_ASKED = (
    "The history was not asked yet what was opened: the list appears with one of the next polls. Where it does not, the"
    " agent's log says why."
)


def why_no_requests(pages: PageData, sources: Container[str]) -> str:
    """Say why no requests are shown, empty where they are; ``sources`` are the names of those that are polled."""
    if "repository" not in sources:
        return ONLY_A_REPOSITORY
    if "requests" not in pages.enabled:
        return (
            "The collector http_requests is switched off: nothing is known of requests, nor of what is opened or"
            " not opened."
        )
    if pages.usage is None:
        return "No poll has counted requests yet: this page fills with the first one."
    return ""


def why_no_content(pages: PageData, listed: Content | None, unused_days: int) -> str:
    """Say why a list of content is not shown where requests are, empty where it is; 0 days are of what is opened."""
    if "workbooks" not in pages.enabled:
        return "The collector content is switched off: nothing is known of workbooks that are opened or not."
    if listed is None:
        return NOT_ASKED
    known = known_from(pages, unused_days)
    if known is None:
        return "No opening has been seen yet: since when openings are known is not known either."
    if known > listed.queried_at:
        return (
            f"What was not opened for {unused_days} days can be told from {minute(known)[:10]} on: openings are known"
            f" since {minute(known - unused_days * DAY_SECONDS)[:10]} only."
        )
    return ""


def known_from(pages: PageData, unused_days: int) -> float | None:
    """Return from when on a list can be told (Unix seconds), None where nobody knows; what is opened always can."""
    if not unused_days:
        return 0.0
    since = None if pages.usage is None else pages.usage.loads_since
    return None if since is None else since + unused_days * DAY_SECONDS
