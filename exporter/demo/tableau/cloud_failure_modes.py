"""Failure modes of the simulated Tableau Cloud Manager and of its object store, as switches.

A *kind* is the kind of a call: login, sites, list, sign (the presigned addresses), download. The counting and the slow
switches spare the login unless ``affected`` names it. What the real thing does every day (late records, files that
appear in past hours, paths that are listed twice, empty files, unknown types and fields) needs no switch.
"""

from dataclasses import dataclass, field

from exporter.demo.tableau.failure_modes import Switches


@dataclass
class CloudFailureModes(Switches):
    """The switches; ``only_sites`` are content URLs, and a file belongs to the site of its path."""

    token_expired: bool = False
    """The token of the tenant can no longer sign in: 401."""
    edition: str = ""
    """``forbidden`` answers 403 to lists and presigned addresses, ``empty`` lists no file: the edition has no log."""
    missing_keys: set[str] = field(default_factory=set)
    """Kinds that answer 200 with an empty JSON object."""
    past_refused: bool = False
    """A list that begins before the retention is refused with 400; otherwise it lacks what is older."""
    endless_pages: bool = False
    """Every page of a list has a pageToken, and it leads to the same page."""
    hostile_paths: bool = False
    """Each list begins with paths that lead out of a folder."""

    unsigned_next: int = 0
    """So many answers with presigned addresses lack every second path."""
    link_seconds: float = 900
    """How long a presigned address is valid."""
    links_expired_next: int = 0
    """So many downloads find their address expired: 403."""
    missing_next: int = 0
    """So many downloads find no such object: 404."""
    redirect_next: int = 0
    """So many downloads are redirected to another path of the store, which answers 200 with what is no event."""
    truncated_next: int = 0
    """So many downloads stop in the middle, under a Content-Length that agrees; the ETag is that of the whole file."""
    short_length_next: int = 0
    """So many downloads have a Content-Length that is too small for their body."""

    no_events: int = 0
    """So many lines of each file are no events."""
    repeats: bool = False
    """A file also has every tenth record of an hour of the day before, with its own eventProcessedTime."""
