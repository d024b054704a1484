"""A simulated tenant of Tableau Cloud with the users and jobs of a simulated server, for tests that need both."""

from datetime import timedelta

from exporter.demo.simulation import Simulation, utc_now
from exporter.demo.tableau.activity_files import ActivityFiles
from exporter.demo.tableau.activity_story import ActivityStory, whole_hour
from exporter.demo.tableau.cloud_manager import CloudManager

LOGGED_HOURS = 24


def activity_files(simulation: Simulation) -> ActivityFiles:
    """Return the Activity Log of the last day of two sites, which goes on in files of a minute."""
    begin = whole_hour(utc_now())
    story = ActivityStory(simulation.company, sites=2, requests_per_day=600, live_since=begin)
    since = begin - timedelta(hours=LOGGED_HOURS)
    return ActivityFiles(story, since, utc_now, live_since=begin, delay=timedelta(seconds=5))


def activity_log_settings(manager: CloudManager) -> dict[str, str]:
    """Return the agent's settings for a tenant."""
    return {
        "ACTIVITY_LOG__URL": manager.url,
        "ACTIVITY_LOG__TOKEN_VALUE": manager.token,
        "ACTIVITY_LOG__POLL_INTERVAL": "10s",
        "ACTIVITY_LOG__DURATION_UNIT": "ms",
    }
