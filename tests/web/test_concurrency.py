"""ConcurrencyLimit: costly requests are bounded, and delay no others."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus

import httpx
import pytest
from anyio import to_thread
from starlette.applications import Starlette
from starlette.types import Message

from exporter.pagedata.builder import PageData
from exporter.web.application import application
from exporter.web.concurrency import Busy, ConcurrencyLimit, FairQueue
from tests.web.fake_endpoint import FakeEndpoint, ask

GENEROUS = 60.0


class StuckEndpoint(FakeEndpoint):
    """An endpoint whose pages last until a test releases them."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.made = 0

    def pages(self) -> PageData:
        """Count, and wait."""
        self.made += 1
        assert self.let_go.wait(GENEROUS)
        return super().pages()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(GENEROUS):
        while not condition():  # noqa: ASYNC110 - it is brought about by threads
            await asyncio.sleep(0.005)


def asking(app: Starlette, path: str) -> asyncio.Task[httpx.Response]:
    """Send a request, beside the test's own code."""

    async def get() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a", timeout=None) as client:
            return await client.get(path, headers={"Accept-Encoding": "identity"})

    return asyncio.create_task(get())


def test_a_crowd_of_pages_is_told_to_come_again() -> None:
    """Two pages are made, 16 wait, and requests beyond that are answered at once; so is a scrape."""
    asyncio.run(_a_crowd())


async def _a_crowd() -> None:
    endpoint = StuckEndpoint()
    app = application(endpoint)
    crowd = [asking(app, "/assets") for _ in range(18)]
    await until(lambda: endpoint.made == 2)
    turned_away = await asking(app, "/usage")
    assert (turned_away.status_code, turned_away.headers["Retry-After"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "5")
    assert turned_away.text.count("\n") == 1
    for coding in ("gzip", "identity"):
        scrape = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a")
        assert (await scrape.get("/metrics", headers={"Accept-Encoding": coding})).text == "tableau_up 1\n"
        await scrape.aclose()
    assert endpoint.made == 2
    endpoint.let_go.set()
    assert {answer.status_code for answer in await asyncio.gather(*crowd)} == {HTTPStatus.OK}
    assert (await asking(app, "/usage")).status_code == HTTPStatus.OK


@pytest.mark.parametrize("path", ["/metrics", "/assets"])
def test_a_scrape_waits_for_no_other_thread(path: str) -> None:
    """Pages and plain scrapes are made though all shared threads are busy."""
    asyncio.run(_no_thread_left(path))


async def _no_thread_left(path: str) -> None:
    shared = to_thread.current_default_thread_limiter()
    for _ in range(int(shared.total_tokens)):
        shared.acquire_on_behalf_of_nowait(object())
    async with asyncio.timeout(GENEROUS):
        assert (await asking(application(FakeEndpoint()), path)).status_code == HTTPStatus.OK


def test_a_page_that_nobody_waits_for_is_not_made() -> None:
    """Of those who left while they waited no page is made; who stayed gets one."""
    asyncio.run(_leaving())


async def _leaving() -> None:
    endpoint = StuckEndpoint()
    app = application(endpoint)
    first = [asking(app, "/assets") for _ in range(2)]
    await until(lambda: endpoint.made == 2)
    left = [asyncio.create_task(_left(app)) for _ in range(5)]
    await asyncio.sleep(0)
    stayed = asking(app, "/assets")
    endpoint.let_go.set()
    await asyncio.gather(*first, *left)
    assert (await stayed).status_code == HTTPStatus.OK
    assert endpoint.made == 3


async def _left(app: Starlette) -> None:
    """Request a page as a client that has gone by the time its turn comes."""
    messages: Iterator[Message] = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        return next(messages, {"type": "http.disconnect"})

    async def send(_: Message) -> None:
        return

    scope = {"type": "http", "method": "GET", "path": "/assets", "raw_path": b"/assets", "query_string": b""}
    await app({**scope, "headers": [], "server": None, "client": None, "scheme": "http"}, receive, send)


def test_a_seat_is_free_again() -> None:
    """A seat is released, whatever happens on it."""
    limit = ConcurrencyLimit(1, 1)
    with limit.admit(), pytest.raises(Busy):
        limit.admit().__enter__()
    with contextlib.suppress(ZeroDivisionError), limit.admit():
        raise ZeroDivisionError
    with limit.admit():
        pass


def test_nine_words_are_too_many() -> None:
    """A search has eight different words at most; a repeated one does not count."""
    app = application(FakeEndpoint())
    words = "+".join("abcdefgh")
    assert ask(app, "GET", f"/assets?q={words}+A+b+c").status == HTTPStatus.OK
    for path in ("/assets", "/assets.csv"):
        answer = ask(app, "GET", f"{path}?q={words}+i")
        assert answer.status == HTTPStatus.BAD_REQUEST
        assert b"q has more than 8 words; search for fewer." in answer.body


def test_a_fair_queue_goes_round_and_serves_the_newest_first() -> None:
    """The lane whose turn is the longest ago is next, there the newest; who would be last is refused."""

    async def run() -> tuple[list[str], list[bool]]:
        queue, order = FairQueue(4), list[str]()

        async def wait(name: str) -> None:
            async with queue.turn(name[0]):
                order.append(name)
                await asyncio.sleep(0)

        async with queue.turn("a"):
            names = ["a1", "a2", "b1", "b2", "c1"]
            tasks = [asyncio.create_task(wait(name)) for name in names]
            await asyncio.sleep(0)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        return order, [isinstance(answer, Busy) for answer in answers]

    order, refused = asyncio.run(run())
    assert order == ["c1", "b2", "a2", "b1"]
    assert refused == [True, False, False, False, False]


@pytest.mark.parametrize("late", [False, True])
def test_a_fair_queue_passes_by_who_was_cancelled(late: bool) -> None:
    """A request that is cancelled while it waits, or just when its turn comes, blocks no other."""

    async def run() -> list[str]:
        queue, order = FairQueue(1), list[str]()

        async def wait(name: str) -> None:
            async with queue.turn(name):
                order.append(name)

        async with queue.turn("a"):
            cancelled = asyncio.create_task(wait("b"))
            await asyncio.sleep(0)
            if not late:
                cancelled.cancel()
                await asyncio.sleep(0)
        if late:
            cancelled.cancel()
        other = asyncio.create_task(wait("c"))
        async with asyncio.timeout(GENEROUS):
            await other
        return order

    assert asyncio.run(run()) == ["c"]


def test_a_fair_queue_forgets_the_oldest_lanes() -> None:
    """The number of remembered lanes is bounded, however many there are."""

    async def run() -> FairQueue:
        queue = FairQueue(1)
        for lane in range(5_000):
            async with queue.turn(lane):
                pass
        return queue

    assert list(asyncio.run(run())._last) == list(range(904, 5_000))
