"""Licences and tokens: users who do not sign in, seats, credentials that expire, content of unlicensed owners."""

from exporter.collector import Collector, State, StateHistory
from exporter.collectors.licences.credentials import (
    CREDENTIALS,
    CREDENTIALS_PAGE_SQL,
    CREDENTIALS_READS,
    CREDENTIALS_SQL,
    TOKEN_EXPIRY,
    Credential,
    expose_credentials,
)
from exporter.collectors.licences.owners import (
    ORPHANED,
    ORPHANS,
    ORPHANS_PAGE_SQL,
    OWNED_READS,
    OWNED_SQL,
    OwnedContent,
    expose_orphans,
)
from exporter.collectors.licences.users import (
    INACTIVE,
    INACTIVE_PAGE_SQL,
    INACTIVE_USERS,
    SEATS,
    SEATS_READS,
    SEATS_SQL,
    USERS_READS,
    USERS_SQL,
    Capacity,
    LicensedUser,
    expose_inactive,
    expose_seats,
)

READ_SECONDS = 3600.0
"""Days count here: within an hour little changes."""

COLLECTOR = Collector(
    "licences",
    "Licensed users who do not sign in, seats, tokens and product keys that expire, and content of unlicensed owners.",
    states=(
        State(
            LicensedUser,
            USERS_READS,
            USERS_SQL,
            (INACTIVE,),
            expose_inactive,
            "exact",
            StateHistory(page=INACTIVE_USERS, page_sql=INACTIVE_PAGE_SQL),
            seconds=READ_SECONDS,
        ),
        State(Capacity, SEATS_READS, SEATS_SQL, (SEATS,), expose_seats, "exact", seconds=READ_SECONDS),
        State(
            Credential,
            CREDENTIALS_READS,
            CREDENTIALS_SQL,
            (TOKEN_EXPIRY,),
            expose_credentials,
            "exact",
            StateHistory(page=CREDENTIALS, page_sql=CREDENTIALS_PAGE_SQL),
            seconds=READ_SECONDS,
        ),
        State(
            OwnedContent,
            OWNED_READS,
            OWNED_SQL,
            (ORPHANED,),
            expose_orphans,
            "exact",
            StateHistory(page=ORPHANS, page_sql=ORPHANS_PAGE_SQL),
            seconds=READ_SECONDS,
        ),
    ),
)
