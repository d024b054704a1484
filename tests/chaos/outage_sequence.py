"""A seeded sequence of outages: three Alertmanagers that come and go, and an agent that is killed and restarted.

What holds, and when, is decided here; after every evaluation the notifications are compared with the model.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

import duckdb

from tests.chaos.alert_model import BELIEVED, ModelAlert
from tests.chaos.condition_sequence import BEGIN, HOUR, MINUTE, ConditionSequence, Phase
from tests.chaos.forked_notifier import KINDS, ForkedNotifier
from tests.chaos.pending_resolved import PendingResolved
from tests.support.fake_alertmanager import DISORDERS, HANGS, WELL, FakeAlertmanager, Labels, ReceivedAlert

IN_ORDER_SECONDS = 120


@dataclass
class Tally:
    """The counts and checks of a sequence."""

    outages: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    fired: int = 0
    ended: int = 0
    delivered: set[tuple[str, str, Labels, int]] = field(default_factory=set)


class OutageSequence:
    """One sequence; ``steps`` records its actions."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = Random(seed)
        self.time = BEGIN
        self.steps: list[str] = []
        self.tally = Tally()
        self.alerts: dict[Labels, ModelAlert] = {}
        self._path = folder / "history.duckdb"
        self._folder = folder
        self._offset = 0
        self._pending = PendingResolved(self.alerts)
        self._holder: duckdb.DuckDBPyConnection | None = None
        self._held_until = 0
        self._freed_at = 0
        self._doubt = False
        """Whether the file may lack the remembered state."""
        self._read = False
        self._tried_at = 0
        """When the agent last tried to read the last process's state, by its clock."""
        self._alive_since = 0
        self._lost_at = 0
        self._elsewhere_until = 0
        self._counted: dict[str, float] = {}
        self._ends_heard: dict[tuple[str, Labels], int] = {}
        self._episode: Counter[Labels] = Counter()
        self._conditions = ConditionSequence(self.chance)
        for labels, kind in self._conditions.alerts.items():
            self.alerts[labels] = ModelAlert(kind.for_seconds, kind.keep_firing_for_seconds)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.receivers = [stack.enter_context(FakeAlertmanager(lambda: self.time)) for _ in range(3)]
            self._outages = {receiver.url: Phase(until=BEGIN + 5 * MINUTE) for receiver in self.receivers}
            self._well_since = dict.fromkeys(self._outages, BEGIN)
            self._named_at = dict.fromkeys(self._outages, 0)
            self._urls = list(self._outages)
            self._notifier = stack.enter_context(ForkedNotifier(self._folder))
            stack.callback(self._free)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, outages: int) -> Tally:
        """Go on until there were so many outages, and all are over; then come to rest."""
        while self.tally.outages < outages or any(phase.on for phase in self._outages.values()):
            self._go_on(outages)
        self._come_to_rest()
        return self.tally

    def _go_on(self, outages: int) -> None:
        chance = self.chance
        self.time += chance.choices((15, 30, 60), (6, 2, 2))[0]
        self._break_and_fix(outages)
        self._inject_fault()
        if not self._notifier.pid:
            self._begin()
        self._evaluate(self._plan() if chance.random() < 0.04 else "")

    @property
    def now(self) -> int:
        """The agent's clock."""
        return self.time + self._offset

    # The faults, by their target.

    def _break_and_fix(self, outages: int) -> None:
        for receiver in self.receivers:
            phase = self._outages[receiver.url]
            if self.time < phase.until:
                continue
            if not phase.on and self.tally.outages >= outages:
                continue
            phase.on = not phase.on
            options = self.chance.choice(DISORDERS) if phase.on else WELL
            seconds = self._outage_seconds() if phase.on else self.chance.randint(2 * MINUTE, 16 * MINUTE)
            # Each asking of one that hangs takes real time.
            phase.until = self.time + (min(seconds, MINUTE) if options == HANGS else seconds)
            self._well_since[receiver.url] = self.time
            receiver.behave(options)
            self.tally.outages += phase.on
            self._report(f"{receiver.port} {options} until {phase.until - BEGIN}")

    def _outage_seconds(self) -> int:
        spans = ((15, 2 * MINUTE), (2 * MINUTE, 20 * MINUTE), (20 * MINUTE, 2 * HOUR), (2 * HOUR, 6 * HOUR))
        return self.chance.randint(*self.chance.choices(spans, (45, 32, 20, 3))[0])

    def _inject_fault(self) -> None:
        """Go on with the conditions, the file, the clock and the configuration."""
        chance = self.chance
        self._conditions.go_on(self.time)
        if self._holder is not None and self.time >= self._held_until:
            self._free()
        elif self._holder is None and self._alive_since and chance.random() < 0.012:
            self._hold(chance.choice((chance.randint(15, 120), chance.randint(2 * MINUTE, 25 * MINUTE))))
        if chance.random() < 0.01:
            self._offset = chance.randint(-45, 45)
            self._report(f"clock {self._offset:+}")
        if self._notifier.pid and len(self._urls) < 3 and self.time >= self._elsewhere_until:
            self._reload([receiver.url for receiver in self.receivers])
        elif self._notifier.pid and len(self._urls) == 3 and chance.random() < 0.008:
            self._elsewhere_until = self.time + chance.randint(15, 20 * MINUTE)
            self._reload(chance.sample(self._urls, chance.randint(1, 2)))

    def _hold(self, seconds: int) -> None:
        self._held_until = self.time + seconds
        self._holder = duckdb.connect(str(self._path))
        self._report(f"file held until {self._held_until - BEGIN}")

    def _free(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder, self._freed_at = None, self.time
            self._report("file freed")

    # What the agent does.

    def _begin(self) -> None:
        self._notifier.begin(self._path, self._urls)
        self._read, self._tried_at, self._alive_since = False, 0, 0
        for alert in self.alerts.values():
            alert.begin()
        self._pending.begin()
        self._report("begun")

    def _die(self, how: str) -> None:
        self._notifier.kill()
        self.tally.kills[how.split(maxsplit=1)[0]] += 1
        if self._holder is not None or self._doubt or not self._read:
            self._lost_at = self.time
            # While the file cannot be written, pending alerts are published as well.
            self._counted.clear()
        down = self.chance.choices((0, self.chance.randint(1, 300), self.chance.randint(300, 4 * HOUR)), (5, 4, 1))[0]
        self.time += down
        self._report(f"killed: {how}; down for {down}")

    def _plan(self) -> str:
        """Choose how the agent is killed at this evaluation."""
        chance = self.chance
        return chance.choice(
            (
                f"looking {chance.choice(KINDS).alert}",
                f"writing {chance.randint(1, 60)}",
                f"sending {chance.randrange(3)} {chance.choice(('before', 'after'))}",
                f"sending {chance.randrange(3)} {chance.choice(('before', 'after'))}",
                f"sometime {chance.uniform(0, 0.03):.4f}",
                "between",
            )
        )

    def _reload(self, urls: list[str]) -> None:
        assert self._notifier.ask({"now": self.now, "urls": urls}) is not None
        for url in set(urls) - set(self._urls):
            # It was not notified of ends meanwhile: it holds an alert until the ``endsAt`` that it received.
            self._named_at[url] = self.tally.looks
            self._well_since[url] = max(self._well_since[url], self.time) + int(BELIEVED) - IN_ORDER_SECONDS
        self._urls = urls
        self._pending.note()
        self._hear()
        if self._holder is None and self._read:
            self._doubt = False
            self._write()
        self._report(f"{len(urls)} Alertmanagers: {[url[-5:] for url in urls]}")

    def _take_up(self) -> None:
        """Add the last process's state to the model."""
        for alert in self.alerts.values():
            alert.read()
        self._pending.read()
        self._read, self._doubt = True, False

    def _evaluate(self, plan: str) -> None:
        self.tally.looks += 1
        now, free = self.now, self._holder is None
        if not self._read and not 0 <= now - self._tried_at < MINUTE:
            self._tried_at = now
            if free:
                self._take_up()
        self._pending.note()
        fired = [labels for labels, alert in self.alerts.items() if alert.fires]
        for labels, alert in self.alerts.items():
            alert.look(self._conditions.seen(labels), now, unread=not self._read)
        self.tally.ended += self._pending.look(fired, now, self.tally.looks)
        for labels, alert in self.alerts.items():
            if alert.fires and labels not in fired:
                self.tally.fired += 1
                self._episode[labels] += 1
        answer = self._ask(plan)
        self._hear()
        self._written(free=free, completed=answer is not None)
        if answer is not None:
            self._completed(answer, now)
        if plan:
            self._die(plan)

    def _ask(self, plan: str) -> dict[str, Any] | None:
        how, *what = plan.split() or [""]
        question = {
            "now": self.now,
            "seen": {kind.alert: self._conditions.published(kind) for kind in KINDS},
            "hanging": [receiver.url for receiver in self.receivers if receiver.options == HANGS],
            "kills_at": what[0] if how == "looking" else None,
            "kills_at_statement": int(what[0]) if how == "writing" else 0,
        }
        victim = self.receivers[int(what[0])] if how == "sending" else None
        if victim is not None:
            victim.kills = (self._notifier.pid, what[1] == "after")
        answer = self._notifier.ask(question, kill_after=float(what[0]) if how == "sometime" else None)
        if victim is not None:
            victim.kills = None
        return answer

    def _written(self, *, free: bool, completed: bool) -> None:
        """Add the file's present state to the model."""
        if not free:
            self._doubt = self._doubt or self._read
        elif self._read and (self._doubt or not completed):
            # After a failure it is tried again within a minute.
            self._doubt = self._doubt and not (completed and self.time - self._freed_at >= 3 * MINUTE)
            for alert in self.alerts.values():
                alert.notified = alert.notified and not self._doubt
                alert.may_be_written()
        if free and self._read and completed and not self._doubt:
            self._write()

    def _write(self) -> None:
        for alert in self.alerts.values():
            alert.write()
        self._pending.write()

    def _completed(self, answer: Mapping[str, Any], now: int) -> None:
        if self._read and not self._alive_since:
            self._alive_since = self.time
        self._count(answer["sent"])
        for receiver in self.receivers:
            since = max(self._well_since[receiver.url], self._alive_since)
            well = receiver.options == WELL and receiver.url in self._urls and self._alive_since
            if well and self.time - since >= IN_ORDER_SECONDS:
                self._compare(receiver, now)

    # What must hold.

    def _hear(self) -> None:
        """Compare the notifications with the possible ones."""
        for receiver in self.receivers:
            news, answered = receiver.heard()
            assert not news or receiver.url in self._urls, "somebody is told who is not configured"
            for word in news:
                self._hear_word(receiver, word)
            self._pending.answered(receiver.url, [word.labels for word in answered if word.ends_at > self.now])

    def _hear_word(self, receiver: FakeAlertmanager, word: ReceivedAlert) -> None:
        assert word.labels in self.alerts, f"nobody knows of {word.labels}"
        alert, now = self.alerts[word.labels], self.now
        before = f"{alert.memory}, ends {alert.ends}"
        if word.ends_at > now:
            assert alert.hear_firing(word.starts_at, now), f"invented: {self._shown_word(word)}: {before}"
            assert word.ends_at == now + BELIEVED
        else:
            assert alert.hear_end(word.starts_at, word.ends_at, now), f"end: {self._shown_word(word)}: {before}"
            self._ends_heard[receiver.url, word.labels] = self.tally.looks

    def _shown_word(self, word: ReceivedAlert) -> str:
        return f"{word.labels} from {word.starts_at - BEGIN} to {word.ends_at - BEGIN} at {self.now - BEGIN}"

    def _compare(self, receiver: FakeAlertmanager, now: int) -> None:
        """Compare the open alerts of a healthy Alertmanager with the firing ones."""
        held = receiver.open_at(self.time)
        for labels, alert in self.alerts.items():
            episode = self._episode[labels]
            if alert.must_be_open(now, IN_ORDER_SECONDS):
                assert labels in held, f"missed by {receiver.port}: {labels}, {alert.memory}"
                self.tally.delivered.add((receiver.url, "fired", labels, episode))
            due = self._pending.memory.ends.get(labels)
            if due is not None and due.look > self._named_at[receiver.url] and due.is_owed(receiver.url, now):
                heard = self._ends_heard.get((receiver.url, labels), 0) >= due.look
                assert heard, f"end missed by {receiver.port}: {labels}, {due}"
                self.tally.delivered.add((receiver.url, "ended", labels, due.look))
            forgotten = self.time - self._lost_at <= BELIEVED + 2 * MINUTE
            assert alert.may_fire or labels not in held or forgotten, f"held by {receiver.port}: {labels}"

    def _count(self, sent: Mapping[str, float | None]) -> None:
        for receiver in self.receivers:
            counted = sent.get(receiver.url)
            if counted is not None:
                assert self._counted.get(receiver.url, 0) <= counted <= receiver.accepted, "counted wrong"
                self._counted[receiver.url] = counted

    def _come_to_rest(self) -> None:
        """Let everything end: no receiver holds a firing alert, and all was counted."""
        self._conditions.rests = True
        self._free()
        self._report("rest")
        for _ in range(60):
            self.time += 15
            if not self._notifier.pid:
                self._begin()
            if len(self._urls) < 3:
                self._reload([receiver.url for receiver in self.receivers])
            self._evaluate("")
        assert not any(alert.may_fire for alert in self.alerts.values())
        assert not any(receiver.open_at(self.time) for receiver in self.receivers)
        assert all(self._counted[receiver.url] > 0 for receiver in self.receivers)

    def _report(self, event: str) -> None:
        self.steps.append(f"{self.time - BEGIN}: {event}")


def seeds(chosen: str) -> Sequence[int]:
    """Return the seeds that were chosen: 7, or 7-12."""
    first, _, last = chosen.partition("-")
    return range(int(first), int(last or first) + 1)
