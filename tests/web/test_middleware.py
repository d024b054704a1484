"""Users: the accepted requests, and the answers to all others."""

import asyncio
import base64
from contextlib import AsyncExitStack

import bcrypt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from exporter.web.application import application
from exporter.web.middleware import BasicAuthentication, _network
from exporter.web.passwords import Passwords
from exporter.web.web_config import Access
from tests.web.fake_endpoint import FakeEndpoint, ask

HASHED = bcrypt.hashpw("pässword:".encode(), bcrypt.gensalt(4)).decode()


def basic(credentials: bytes) -> dict[str, str]:
    """Return the header that a client sends for these credentials."""
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()}


@pytest.fixture
def endpoint() -> FakeEndpoint:
    """Return an endpoint that a test can change."""
    return FakeEndpoint()


@pytest.fixture
def app(endpoint: FakeEndpoint) -> Starlette:
    """Return an application with one user."""
    return application(endpoint, Access(passwords=Passwords({"prometheus": HASHED})))


PATHS = ["/", "/metrics", "/-/healthy", "/-/ready", "/static/status.css", "/nowhere"]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_a_user(app: Starlette, path: str) -> None:
    """Where users are configured every path requires one, before it reveals whether it exists."""
    answer = ask(app, "GET", path)
    assert (answer.status, answer.body) == (401, b"Unauthorized\n")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="tableau-exporter", charset="UTF-8"'


@pytest.mark.parametrize("path", PATHS)
def test_a_user_sees_what_everybody_would_see(app: Starlette, endpoint: FakeEndpoint, path: str) -> None:
    """With the right password the answer is the one of an application without users."""
    admitted = ask(app, "GET", path, basic("prometheus:pässword:".encode()))
    assert admitted == ask(application(endpoint), "GET", path)


def test_a_reload_takes_a_user(app: Starlette, endpoint: FakeEndpoint) -> None:
    """Without a user nothing is reloaded."""
    assert ask(app, "POST", "/-/reload").status == 401
    assert endpoint.reloads == 0


@pytest.mark.parametrize(
    "headers",
    [
        basic(b"prometheus:wrong"),
        basic(b"prometheus:"),
        basic(b"prometheus"),
        basic(b"mallory:p\xc3\xa4ssword:"),
        basic(b"\xff\xfe:p\xc3\xa4ssword:"),
        basic(b""),
        {"Authorization": "Basic not base64!"},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer " + base64.b64encode("prometheus:pässword:".encode()).decode()},
        {"Authorization": ""},
    ],
)
def test_wrong_credentials_are_refused(app: Starlette, headers: dict[str, str]) -> None:
    """Credentials that are wrong, malformed or of another scheme are answered like none."""
    assert ask(app, "GET", "/metrics", headers).status == 401


def test_an_adopted_access_is_in_force_at_once(endpoint: FakeEndpoint) -> None:
    """Reloaded users are required from the next request on, without a restart."""
    access = Access()
    app = application(endpoint, access)
    assert ask(app, "GET", "/metrics").status == 200
    access.adopt(Access(passwords=Passwords({"prometheus": HASHED})))
    assert ask(app, "GET", "/metrics").status == 401


class Conversation:
    """A request of a known user with these messages, and the messages sent for it."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.sent: list[Message] = []
        authorization = basic("prometheus:pässword:".encode())["Authorization"].encode()
        self.scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "headers": [(b"authorization", authorization)],
        }

    async def receive(self) -> Message:
        """Return the next message, or wait for one that never comes."""
        if not self.messages:
            await asyncio.Event().wait()
        return self.messages.pop(0)

    async def send(self, message: Message) -> None:
        """Record the sent messages."""
        self.sent.append(message)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body of the request."""
    await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)


PART = {"type": "http.request", "body": b"first ", "more_body": True}
END = {"type": "http.request", "body": b"last", "more_body": False}


@pytest.mark.parametrize("messages", [(PART, END), (PART, PART, END)])
def test_a_request_that_waited_for_a_computation_keeps_its_body(messages: tuple[Message, ...]) -> None:
    """Messages read to detect a disconnected client are passed to the application, in their order."""
    conversation = Conversation(*messages)
    guard = BasicAuthentication(echo, Access(passwords=Passwords({"prometheus": HASHED})))
    asyncio.run(guard(conversation.scope, conversation.receive, conversation.send))
    assert conversation.sent[0]["status"] == 200
    assert conversation.sent[1]["body"] == b"".join(message["body"] for message in messages)


@pytest.mark.parametrize("before", [(), (END,)])
def test_a_client_that_has_left_costs_no_computation(before: tuple[Message, ...]) -> None:
    """A request whose client closed the connection, with its body read or not, is neither hashed nor answered for."""
    hashes: list[bytes] = []

    def check(_: bytes, hashed: bytes) -> bool:
        hashes.append(hashed)
        return True

    conversation = Conversation(*before, {"type": "http.disconnect"})
    guard = BasicAuthentication(echo, Access(passwords=Passwords({"prometheus": HASHED}, check)))
    asyncio.run(guard(conversation.scope, conversation.receive, conversation.send))
    assert (hashes, conversation.sent[0]["status"]) == ([], 401)


def test_who_finds_no_seat_is_asked_to_come_again() -> None:
    """Where every seat of the queue is better used by others the answer is 503 with Retry-After, at once."""

    async def run() -> Conversation:
        passwords = Passwords({"prometheus": HASHED})
        guard, conversation = BasicAuthentication(echo, Access(passwords=passwords)), Conversation(END)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(passwords._queue.turn(("", "prometheus")))
            waiting = asyncio.create_task(guard(conversation.scope, conversation.receive, conversation.send))
            await asyncio.sleep(0)
            others = [asyncio.create_task(passwords.accepts("mallory", b"")) for _ in range(16)]
            async with asyncio.timeout(60):
                await waiting
            for other in others:
                other.cancel()
        return conversation

    start = asyncio.run(run()).sent[0]
    assert start["status"] == 503
    assert b"retry-after" in dict(start["headers"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("/run/socket", "127.0.0.1", False),
    ],
)
def test_a_network_is_an_address_or_64_bits_of_one(one: str, other: str, same: bool) -> None:
    """Clients of one IPv4 address queue together, and those of one IPv6 network of 64 bits."""
    first, second = (_network({"type": "http", "client": (host, 1)}) for host in (one, other))
    assert (first == second) is same
