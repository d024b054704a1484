"""Names and addresses of users under the privacy options."""

import pyarrow as pa
import pytest

from exporter.collector import columns_of
from exporter.collectors.assets.rows import Asset
from exporter.collectors.users import User
from exporter.history.privacy import apply_privacy
from exporter.history.pseudonyms import Pseudonyms
from exporter.history.redaction import Privacy

PSEUDONYMS = Pseudonyms(b"k" * 32)
ROWS = pa.table({column.name: pa.array(["Ann"], pa.string()) for column in columns_of(User)})


@pytest.mark.parametrize(("users", "kept"), [("name", "Ann"), ("pseudonym", PSEUDONYMS.of("Ann")), ("none", None)])
def test_names(users: str, kept: str | None) -> None:
    """A name stays, becomes a keyed hash, or NULL, whether or not there is a key."""
    privacy = Privacy(users=users)  # type: ignore[arg-type]
    rows = apply_privacy(ROWS, columns_of(User), privacy, PSEUDONYMS)
    personal = [column.name for column in columns_of(User) if column.personal]
    assert "name" in personal
    assert {rows.column(name)[0].as_py() for name in personal} == {kept}
    assert rows.column("id")[0].as_py() == "Ann"


@pytest.mark.parametrize(
    ("users", "kept"),
    [
        ("name", ("ann", "Ann B", "ann@example.com")),
        ("pseudonym", (PSEUDONYMS.of("ann"), None, None)),
        ("none", (None, None, None)),
    ],
)
def test_what_a_hash_cannot_stand_for(users: str, kept: tuple[str | None, ...]) -> None:
    """A hash of an address is no address: the owner's address and displayed name are absent under pseudonyms."""
    facts = {"content_owner": "ann", "owner_name": "Ann B", "owner_email": "ann@example.com", "asset_name": "ann"}
    rows = pa.table({name: pa.array([text], pa.string()) for name, text in facts.items()})
    columns = [column for column in columns_of(Asset) if column.name in facts]
    found = apply_privacy(rows, columns, Privacy(users=users), PSEUDONYMS)  # type: ignore[arg-type]
    assert tuple(found.column(name)[0].as_py() for name in rows.column_names) == (*kept, "ann")
    assert found.schema == rows.schema
