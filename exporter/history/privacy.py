"""The privacy options applied to names of people, before rows are stored or published."""

from collections.abc import Sequence

import pyarrow as pa

from exporter.collector import Column
from exporter.history.pseudonyms import Pseudonyms
from exporter.history.redaction import Privacy


def apply_privacy(
    rows: pa.Table, columns: Sequence[Column], privacy: Privacy, pseudonyms: Pseudonyms | None
) -> pa.Table:
    """Replace the personal columns by keyed hashes, or by NULL where pseudonyms are not possible.

    Numbers of users name nobody outside of Tableau: pseudonyms leave them.
    """
    if privacy.users == "name":
        return rows
    for column in columns:
        if column.personal:
            index = rows.column_names.index(column.name)
            hashes = pseudonyms if privacy.users == "pseudonym" and column.pseudonymous else None
            rows = rows.set_column(index, column.name, _replaced(rows.column(index), hashes))
    return rows


def _replaced(texts: pa.ChunkedArray, pseudonyms: Pseudonyms | None) -> pa.ChunkedArray | pa.Array:
    if pseudonyms is None:
        return pa.nulls(len(texts), texts.type)
    if texts.type != pa.string():
        return texts
    return pa.array([None if text is None else pseudonyms.of(text) for text in texts.to_pylist()], pa.string())


def person_ids(users: pa.Table, pseudonyms: Pseudonyms | None) -> pa.Table:
    """Return the person of each user (user_id, person): the same person on several sites has one number.

    Under the privacy options a person is a hash, so that the time of a person's last request names nobody.
    """
    ids = users.column("id").to_pylist()
    persons = users.column("system_user_id").to_pylist()
    known = [
        (user, person if person is not None else -user)
        for user, person in zip(ids, persons, strict=True)
        if user is not None
    ]
    if pseudonyms is not None:
        known = [(user, pseudonyms.number(person)) for user, person in known]
    return pa.table(
        {
            "user_id": pa.array([user for user, _ in known], pa.int64()),
            "person": pa.array([person for _, person in known], pa.int64()),
        }
    )
