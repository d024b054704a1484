"""Whether a failure is news: one outage is one line of the log, however many polls fail and whatever each reason is."""

import threading


class Outage:
    """What does not work, as several threads find it out: news once for each kind of error, until all of it works.

    The kind is the class of the error. Its text is not: a server that stops refuses first, then it is silent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: set[type[Exception]] = set()
        self._failing: set[str] = set()

    def is_news(self, error: Exception, of: str = "") -> bool:
        """Note a failure ``of`` one of those that use it; return whether there was none of its kind yet."""
        with self._lock:
            self._failing.add(of)
            known = type(error) in self._kinds
            self._kinds.add(type(error))
            return not known

    def is_over(self, of: str = "") -> bool:
        """Note a success; return whether it is the end of an outage."""
        with self._lock:
            before = bool(self._failing)
            self._failing.discard(of)
            if self._failing:
                return False
            self._kinds.clear()
            return before
