"""Connections to the history file that fail before their n-th statement, each test in its own way."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NoReturn

import duckdb

Connect = Callable[..., duckdb.DuckDBPyConnection]


class FailingConnection:
    """A connection to the file that ends in its own way before the n-th statement of all of these is run."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, numbers: Iterator[int], last: int, end: Callable[[], NoReturn]
    ) -> None:
        self._connection = connection
        self._numbers = numbers
        self._last = last
        self._end = end

    def execute(self, *arguments: Any) -> Any:  # noqa: ANN401 - DuckDB's own signature
        """Run a statement, unless it is the last."""
        if next(self._numbers) == self._last:
            self._end()
        return self._connection.execute(*arguments)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever DuckDB has
        return getattr(self._connection, name)


def failing_at(connect: Connect, last: int, end: Callable[[], NoReturn]) -> Callable[..., Any]:
    """Return a way to open the file whose connections end before the n-th statement of all of them."""
    numbers = count(1)

    def connected(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - DuckDB's own signature
        connection = connect(*arguments, **options)
        # Requests are cleaned in memory, where nothing can be lost.
        return FailingConnection(connection, numbers, last, end) if arguments else connection

    return connected
