"""Faults that are logged once: when they begin or change, and when they are over."""

import threading
from collections.abc import Container, Hashable


class LogOnce:
    """Which fault of each subject was logged last. One thread at a time."""

    def __init__(self) -> None:
        self._logged: dict[Hashable, object] = {}

    def is_new(self, subject: Hashable, fault: object = None) -> bool:
        """Note a fault; return whether it is to be logged: this subject had none, or another one."""
        known = subject in self._logged and self._logged[subject] == fault
        self._logged[subject] = fault
        return not known

    def is_over(self, subject: Hashable) -> bool:
        """Note that a subject has no fault; return whether that is to be logged: it had one."""
        known = subject in self._logged
        self._logged.pop(subject, None)
        return known

    def retain(self, subjects: Container[Hashable]) -> None:
        """Forget all other subjects."""
        self._logged = {subject: fault for subject, fault in self._logged.items() if subject in subjects}


class Outage:
    """A fault that several threads meet: logged once for each kind of error, until none of them meets it any more.

    The kind is the class of the error. Its text is not: a stopping server first refuses, then does not respond.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kinds: set[type[Exception]] = set()
        self._failing: set[str] = set()

    def is_new(self, error: Exception, user: str = "") -> bool:
        """Note a failure of one of the users; return whether there was none of its kind yet."""
        with self._lock:
            self._failing.add(user)
            known = type(error) in self._kinds
            self._kinds.add(type(error))
            return not known

    def is_over(self, user: str = "") -> bool:
        """Note a success of one of the users; return whether it ends an outage."""
        with self._lock:
            before = bool(self._failing)
            self._failing.discard(user)
            if self._failing:
                return False
            self._kinds.clear()
            return before
