"""Names of people under the privacy options."""

import pyarrow as pa
import pytest

from exporter.collector import columns_of
from exporter.collectors.users import User
from exporter.history.people import Pseudonyms
from exporter.history.redaction import Privacy
from exporter.poller.personal import without_names

PSEUDONYMS = Pseudonyms(b"k" * 32)
ROWS = pa.table({column.name: pa.array(["Ann"], pa.string()) for column in columns_of(User)})


@pytest.mark.parametrize(("users", "kept"), [("name", "Ann"), ("pseudonym", PSEUDONYMS.of("Ann")), ("none", None)])
def test_names(users: str, kept: str | None) -> None:
    """A name stays, becomes a keyed hash, or NULL, whether or not there is a key."""
    privacy = Privacy(users=users)  # type: ignore[arg-type]
    rows = without_names(ROWS, columns_of(User), privacy, PSEUDONYMS)
    personal = [column.name for column in columns_of(User) if column.personal]
    assert "name" in personal
    assert {rows.column(name)[0].as_py() for name in personal} == {kept}
    assert rows.column("id")[0].as_py() == "Ann"
