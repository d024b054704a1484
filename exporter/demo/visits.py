"""What one person does on the server in one go: a visit, as the rows that it leaves in http_requests."""

import itertools
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Generic, TypeVar

from exporter.demo import request_shapes
from exporter.demo.company import Company
from exporter.demo.opening import unopened
from exporter.demo.request_shapes import Shape
from exporter.demo.rows import Row

# The popularity of the n-th view, and the diligence of the n-th person, is n to the power of minus this.
STEEPNESS = 1.1
ANONYMOUS = 0.06
SIGNED_IN = 200

Item = TypeVar("Item")


class Draw(Generic[Item]):
    """Things to choose from, each with its weight."""

    def __init__(self, random: Random, items: Sequence[Item], weights: Sequence[float]) -> None:
        self._random = random
        self._items = items
        self._weights = list(itertools.accumulate(weights))

    def __call__(self) -> Item:
        """Choose one."""
        return self._random.choices(self._items, cum_weights=self._weights)[0]


class Visits:
    """An endless supply of visits to a company's sites; some workbooks (ids) are ``avoided``."""

    def __init__(self, company: Company, random: Random, avoided: Collection[object] = ()) -> None:
        self._random = random
        self._sites = {row["id"]: str(row["url_namespace"]) for row in company.tables["sites"]}
        gone = {row["id"] for row in company.tables["workbooks"] if row["is_deleted"]} | unopened(company.assets).keys()
        views = [row for row in company.tables["views"] if row["workbook_id"] not in {*gone, *avoided}]
        # The first two seats of a site belong to the system and to the guest account: no user has them.
        seats = [row for row in company.tables["users"] if row["system_user_id"] not in {1, 2}]
        sources = [row for row in company.tables["datasources"] if row["connectable"]]
        self._views = {site: self._popular(site, views, "repository_url") for site in self._sites}
        self._seats = {site: self._popular(site, seats, "id") for site in self._sites}
        self._sources = {site: self._popular(site, sources, "repository_url") for site in self._sites}
        self._openings = self._shapes(request_shapes.OPENINGS)
        self._interactions = self._shapes(request_shapes.INTERACTIONS)
        self._portal = self._shapes(request_shapes.PORTAL)
        self._agents = Draw(random, request_shapes.AGENTS, request_shapes.AGENT_WEIGHTS)
        self._statuses = {
            action: Draw(random, [code for code, _ in codes], [weight for _, weight in codes])
            for action, codes in request_shapes.STATUSES.items()
        }

    def visit(self, site: object, begin: datetime) -> list[Row]:
        """Make one visit to a site; rows are in the order in which they began, without ids."""
        return self._rows(self._plan(), begin, self._words(site, self._views[site]()), self._visitor(site))

    def opening(self, site: object, begin: datetime, view: str, user: object) -> list[Row]:
        """Have a user of a site open a view (its repository_url), and do nothing else; rows as above."""
        shapes = [self._openings(), *request_shapes.LOADING]
        return self._rows(shapes, begin, self._words(site, view), {**self._visitor(site), "user_id": user})

    def _rows(self, shapes: Sequence[Shape], begin: datetime, words: dict[str, str], visitor: Row) -> list[Row]:
        at = begin
        rows = []
        for shape in shapes:
            row = self._request(shape, at, words, visitor)
            rows.append(row)
            at += timedelta(seconds=self._random.expovariate(1 / 25) + 0.05)
        return rows

    def _plan(self) -> list[Shape]:
        if self._random.random() < 0.2:
            return [self._portal() for _ in range(self._random.randint(1, 4))]
        count = min(int(self._random.expovariate(1 / 4)), 40)
        return [self._openings(), *request_shapes.LOADING, *(self._interactions() for _ in range(count))]

    def _words(self, site: object, view: object) -> dict[str, str]:
        namespace = self._sites[site]
        workbook, _, sheet = str(view).partition("/sheets/")
        return {
            "t": f"/t/{namespace}" if namespace else "",
            "hash": f"/#/site/{namespace}" if namespace else "/#",
            "wb": workbook,
            "sheet": sheet,
            "source": str(self._sources[site]()),
            "session": self._hex(128).upper() + "-0:0",
            "ticket": request_shapes.CANARY_TICKET + self._hex(64),
            "token": request_shapes.CANARY_TOKEN + self._hex(64),
            "fragment": request_shapes.CANARY_FRAGMENT + self._hex(64),
        }

    def _visitor(self, site: object) -> Row:
        """Invent what all requests of a visit have in common."""
        known = self._random.random() >= ANONYMOUS
        octets = (self._random.randrange(256), self._random.randrange(1, 255))
        address = "10.20.{}.{}".format(*octets)
        if self._random.random() < 0.2:
            address = "2001:db8:{:x}::{:x}".format(*octets)
        referer = self._random.choice(request_shapes.REFERERS)
        return {
            "http_referer": referer,
            "http_user_agent": self._agents(),
            "remote_ip": self._random.choice(("192.0.2.10", "192.0.2.11", "2001:db8::10")),
            "session_id": self._hex(128).upper() if known else None,
            "port": 80,
            "user_id": self._seats[site]() if known else None,
            "worker": self._random.choice(("node1", "node2")),
            "user_cookie": f"{request_shapes.CANARY_COOKIE}-{self._hex(64)}",
            "user_ip": address,
            "site_id": site,
            "flags_used": 0,
        }

    def _request(self, shape: Shape, at: datetime, words: dict[str, str], visitor: Row) -> Row:
        seconds = shape.milliseconds / 1000 * self._random.lognormvariate(0, 0.8)
        referer = visitor["http_referer"]
        status = self._statuses.get(shape.action, self._statuses[""])()
        row = {
            **visitor,
            "controller": shape.controller,
            "action": shape.action,
            "http_referer": str(referer).format_map(words) if referer else referer,
            "http_request_uri": shape.uri.format_map(words),
            "created_at": at,
            "completed_at": at + timedelta(seconds=seconds),
            "status": status,
            "vizql_session": words["session"] if shape.controller == "vizql" else None,
            "currentsheet": shape.sheet.format_map(words) if shape.sheet else shape.sheet,
        }
        # Before the login requests of the portal have neither site nor user.
        if shape.controller == "vizportal" and self._random.random() < 0.3:
            row["site_id"] = None
        if shape.action == "login" and status != SIGNED_IN:
            row["user_id"] = None
        return row

    def _popular(self, site: object, rows: Sequence[Row], column: str) -> Draw[object]:
        items = [row[column] for row in rows if row["site_id"] == site]
        self._random.shuffle(items)
        return Draw(self._random, items, [rank**-STEEPNESS for rank in range(1, len(items) + 1)])

    def _shapes(self, known: Sequence[Shape]) -> Draw[Shape]:
        return Draw(self._random, known, [shape.weight for shape in known])

    def _hex(self, bits: int) -> str:
        return f"{self._random.getrandbits(bits):0{bits // 4}x}"
