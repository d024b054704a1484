"""The status page: what the agent knows about itself, for a person. Whatever came from outside is escaped."""

from jinja2 import Environment

from exporter.collectors.assets.judging import STATUSES
from exporter.exposition.pages import Pages
from exporter.status import Status
from exporter.web.environment import encoded, source_state


class StatusPage:
    """The page."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def render(self, status: Status, pages: Pages) -> bytes:
        """Render the page as UTF-8; what UTF-8 cannot say becomes a question mark."""
        values = {
            "status": status,
            "polls": sorted(status.polls, key=lambda poll: poll.started_at, reverse=True),
            "troubles": troubles(status),
            "waiting": any(source_state(source) == "waiting" for source in status.sources),
            "counts": dict.fromkeys(STATUSES, 0) if pages.assets is None else pages.assets.at(status.now).counts(),
            "pages": pages,
        }
        return encoded(self._environment, "status.html", values)


def troubles(status: Status) -> list[str]:
    """Name everything that needs attention now, one phrase each."""
    found = [f"The source {source.name} is down" for source in status.sources if source_state(source) == "down"]
    found += [f"The collector {collector.name} failed" for collector in status.collectors if not collector.success]
    if status.config_error is not None:
        found.append("The last configuration was not taken")
    return found
