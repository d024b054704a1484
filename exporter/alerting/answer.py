"""What came back from where an Alertmanager should be, and what it means: a yes, a refusal of alerts, or neither."""

import json
from dataclasses import dataclass, field

from exporter.alerting import faults
from exporter.texts import safe_uris

# A batch of which something cannot be taken: 422 is a newer Alertmanager's word, 413 that of what stands before it.
_REFUSED, _TOO_LARGE, TOO_MANY = frozenset({400, 422}), 413, 429
FOREIGN = (
    "answers with what is not of Alertmanager's API v2: check alertmanager.urls,"
    " and whether a login page stands before it"
)


@dataclass(frozen=True)
class Answer:
    """An answer; its body has a bound."""

    status: int
    location: str = field(repr=False)
    body: bytes = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def no(self) -> str:
        """What it means, where it is no yes."""
        if self.is_success:
            return FOREIGN
        return faults.of_answer(self.status, faults.line(self.location, self.secrets), self.said)

    @property
    def said(self) -> str:
        """What it says in Alertmanager's way, as a line; nothing in any other, for that may quote what was sent."""
        try:
            said = self.json
        except ValueError:
            return ""
        message = said.get("message") if isinstance(said, dict) else said
        return safe_uris(faults.line(message, self.secrets)) if isinstance(message, str) else ""

    @property
    def json(self) -> object:
        """What it holds; raises ValueError where that is no JSON."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError from None

    @property
    def is_json(self) -> bool:
        """Whether it holds JSON."""
        try:
            _ = self.json
        except ValueError:
            return False
        return True

    @property
    def is_yes(self) -> bool:
        """Whether it is that of an Alertmanager that took everything."""
        return self.is_success and (not self.body.strip() or self.is_json)

    @property
    def is_success(self) -> bool:
        """Whether its status is a success, whoever answers."""
        return 200 <= self.status < 300

    @property
    def is_refusal(self) -> bool:
        """Whether something of the batch cannot be taken, by the word of an Alertmanager, or all of it at once."""
        return self.status == _TOO_LARGE or (self.status in _REFUSED and self.is_json)
