"""Attackers of the agent's port, in a process of their own: run as ``python -m tests.archive.attackers PORT IDLE``.

Connections that send nothing, guesses of passwords and malformed requests, all at once, until standard input ends. The
line "attacking" on standard output reports the connections, the last line, JSON, the number of each attack.
"""

import asyncio
import itertools
import json
import resource
import socket
import sys
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress

from tests.web.test_malformed import MALFORMED

GUESSES_A_SECOND = 40
MALFORMED_A_SECOND = 20
# What the agent has closed, its attacker opens again: so many a second in the order in which they were opened.
REPLACED_A_SECOND = 250
GIVE_UP_SECONDS = 60.0

Attack = Callable[[int], Awaitable[str]]


class Attackers:
    """All of them; ``counts`` has how often each attack was made, by its outcome."""

    def __init__(self, port: int, idle: int) -> None:
        self.counts: Counter[str] = Counter()
        self._address = ("127.0.0.1", port)
        self._idle = idle
        self._held: deque[socket.socket] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Open the idle connections, report them, and attack until standard input ends."""
        while len(self._held) < self._idle:
            await asyncio.gather(*(self._attempt(self._hold, number) for number in range(100)))
        print("attacking", flush=True)  # noqa: T201 - what the test waits for
        rates = {self._hold: REPLACED_A_SECOND, self._guess: GUESSES_A_SECOND, self._malform: MALFORMED_A_SECOND}
        tasks = [asyncio.create_task(self._at_a_rate(rate, attack)) for attack, rate in rates.items()]
        await asyncio.to_thread(sys.stdin.read)
        for task in [*tasks, *self._under_way]:
            task.cancel()
        await asyncio.gather(*tasks, *self._under_way, return_exceptions=True)

    async def _at_a_rate(self, a_second: int, attack: Attack) -> None:
        """Begin so many attacks a second, however long each takes; catch up where this process fell behind."""
        now = asyncio.get_running_loop().time
        began = now()
        for number in itertools.count():
            await asyncio.sleep(began + number / a_second - now())
            task = asyncio.create_task(self._attempt(attack, number))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _attempt(self, attack: Attack, number: int) -> None:
        with suppress(OSError):
            async with asyncio.timeout(GIVE_UP_SECONDS):
                self.counts[await attack(number)] += 1

    async def _hold(self, _number: int) -> str:
        """Open a connection that sends nothing and does not see that it is closed; close the oldest for it."""
        opened = socket.socket()
        opened.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(opened, self._address)
        except BaseException:
            opened.close()
            raise
        self._held.append(opened)
        if len(self._held) > self._idle:
            self._held.popleft().close()
        return "idle connections"

    async def _guess(self, number: int) -> str:
        """Guess a password, of a user who is there or is not; every other guesser leaves before the answer."""
        pair = b64encode(f"{('prometheus', 'mallory')[number // 2 % 2]}:wrong {number}".encode()).decode()
        request = f"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Basic {pair}\r\n\r\n"
        if number % 2:
            await self._said(request.encode(), 0)
            return "guesses that left"
        return f"guesses answered {await self._said(request.encode(), 12)}"

    async def _malform(self, number: int) -> str:
        kinds = list(MALFORMED.values())
        await self._said(kinds[number % len(kinds)], 12)
        return "malformed requests"

    async def _said(self, request: bytes, length: int) -> str:
        """Send a request; return how the answer begins."""
        reader, writer = await asyncio.open_connection(*self._address)
        with closing(writer):
            writer.write(request)
            await writer.drain()
            return (await reader.read(length)).decode("latin-1") if length else ""


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attackers = Attackers(*map(int, sys.argv[1:]))
    asyncio.run(attackers.run())
    print(json.dumps(attackers.counts))  # noqa: T201 - what the test reads
