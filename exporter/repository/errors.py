"""Errors of PostgreSQL, of a pooler and of the network, each as one line with the remedy.

While connecting there is only text to go by. libpq makes one string of the server's answer and drops its fields:
``error.sqlstate`` and all of ``error.diag`` are None, ``error.pgconn.error_message`` is that string (seen with psycopg
3.3, libpq 18, PostgreSQL 15 and 18). libpq can put the SQLSTATE into the string (PQsetErrorVerbosity), but psycopg has
no such call. The server writes in the language of its ``lc_messages``, which no client can set before it is logged in,
nor afterwards without being a superuser. The English texts are therefore matched one by one; an answer in another
language is recognized by its form, ``SEVERITY:  text`` with two blanks, and gets the advice of ``UNKNOWN_ANSWER``.
"""

import re
from dataclasses import dataclass

import psycopg

from exporter.errors import SourceError, SourceRefused, SourceTimedOut, SourceUnreachable
from exporter.texts import safe_text

# SQLSTATE classes: connection exceptions, too many clients, shutdown.
_CONNECTION_LOST = ("08", "53", "57P")
_REFUSALS = ("28", "42501", "3D000")
_TIMED_OUT = "57014"
_NEVER_ANSWERED = "closed the connection or did not answer in time"
LONGEST_TEXT = 300

_PLACE = re.compile(r'connection to server (?:at|on socket) "[^"]*"(?: \([^)]*\))?(?:, port \d+)? failed: ')
_SEVERITY = re.compile(r"^\S+: {2}")

ENABLE = "tsm data-access repository-access enable --repository-username readonly --repository-password <password>"
_ACCESS = f"on Tableau Server enable access ({ENABLE}), elsewhere let this host in by pg_hba.conf"
_PORT = "host and port in repository.hosts (Tableau's own repository listens on 8060)"
_POOLER = "a pooler (PgBouncer) answers for the repository"
_HBA = r"(?:no pg_hba\.conf entry|pg_hba\.conf rejects connection)"
_WITH_TLS, _WITHOUT_TLS = r"(?:SSL encryption|SSL on)", r"(?:no encryption|SSL off)"

UNKNOWN_ANSWER = (
    f"the server refuses the agent; {_ACCESS}; then check repository.user and its password, repository.database and"
    " repository.sslmode"
)


@dataclass(frozen=True)
class Advice:
    """The remedy for an error whose text matches ``pattern``."""

    pattern: str
    kind: type[SourceError]
    remedy: str

    def fits(self, text: str) -> bool:
        """Return whether the text matches."""
        return re.search(self.pattern, text) is not None


# The errors of a pooler while connecting or at any statement (PgBouncer's source, versions 1.18 to 1.25).
POOLER_ADVICE = (
    Advice(
        "transaction blocks not allowed",
        SourceRefused,
        f"{_POOLER} with pool_mode = statement, in which nothing can be read safely; set pool_mode = transaction or"
        " session there, or name PostgreSQL itself in repository.hosts",
    ),
    Advice(
        "unsupported (?:options )?startup parameter",
        SourceRefused,
        f"{_POOLER}; add the parameter to its ignore_startup_parameters, or name PostgreSQL itself in repository.hosts",
    ),
    Advice(
        "query_wait_timeout|max_client_conn|client connections exceeded|pooler is shutting down|client_login_timeout"
        "|server_login_retry|server login has been failing|pause failed|bouncer resources",
        SourceUnreachable,
        f"{_POOLER} and has no connection to it; see its log and SHOW POOLS, and raise default_pool_size if it is full",
    ),
    Advice(
        "no such (?:database|user)|bouncer config error|no authentication method is found|login rejected",
        SourceRefused,
        f"{_POOLER}; add repository.database and repository.user to its configuration",
    ),
)

# The first that fits counts: what a server answered comes before what the network did.
CONNECTION_ADVICE = (
    *POOLER_ADVICE,
    Advice(
        f"(?=.*{_HBA}.*{_WITH_TLS})(?=.*{_HBA}.*{_WITHOUT_TLS})",
        SourceRefused,
        f"neither with TLS nor without is this host let in; {_ACCESS}",
    ),
    Advice(
        f"{_HBA}.*{_WITHOUT_TLS}",
        SourceRefused,
        f"{_ACCESS}; if that is done, the server demands TLS: set repository.sslmode to verify-full or verify-ca",
    ),
    Advice(
        f"{_HBA}.*{_WITH_TLS}",
        SourceRefused,
        f"{_ACCESS}; if that is done, the server accepts this host only without TLS: change its pg_hba.conf, or set"
        " repository.sslmode to disable",
    ),
    Advice(_HBA, SourceRefused, _ACCESS),
    Advice(
        "not permitted to log in",
        SourceRefused,
        f"on Tableau Server enable access ({ENABLE}), elsewhere ALTER ROLE ... LOGIN",
    ),
    Advice(
        "role .* does not exist",
        SourceRefused,
        "check repository.user: Tableau's are readonly and tableau",
    ),
    Advice(
        "authentication failed|no password supplied|empty password|password too long",
        SourceRefused,
        "check repository.user and its password; a user that does not exist, has no password or an expired one is"
        " refused in the same words",
    ),
    Advice(
        "database .* does not exist",
        SourceRefused,
        f"check repository.database (Tableau's is workgroup), and {_PORT}: another PostgreSQL may answer there",
    ),
    Advice(
        "permission denied for database",
        SourceRefused,
        "GRANT CONNECT ON DATABASE there to repository.user, or use the user readonly",
    ),
    Advice(
        "not currently accepting connections",
        SourceRefused,
        "check repository.database; if it is the right one, ALTER DATABASE ... ALLOW_CONNECTIONS true",
    ),
    Advice(
        "too many clients|connection slots|too many connections",
        SourceUnreachable,
        "the agent needs one connection: end others (pg_stat_activity), or raise max_connections or the CONNECTION"
        " LIMIT of the role or database",
    ),
    Advice(
        r"system is (?:starting up|shutting down|in recovery|not yet accepting)|database shutdown",
        SourceUnreachable,
        "it passes by itself; if it lasts, see tsm status -v and PostgreSQL's log",
    ),
    Advice(
        "system is not accepting connections",
        SourceUnreachable,
        "it is a standby that answers no queries: name the active node in repository.hosts too",
    ),
    Advice(
        "certificate verify failed",
        SourceRefused,
        "check repository.sslrootcert, and whether the certificate has expired",
    ),
    Advice(
        "does not match host name",
        SourceRefused,
        "name the host in repository.hosts as the certificate does, or set repository.sslmode to verify-ca",
    ),
    Advice(
        "root certificate file",
        SourceRefused,
        "set repository.sslrootcert to the server's certificate (server.crt of Tableau Server)",
    ),
    Advice(
        "does not support SSL",
        SourceRefused,
        "enable TLS there (tsm security repository-ssl enable), or set repository.sslmode to disable",
    ),
    Advice(
        "valid client certificate|certificate required",
        SourceRefused,
        "set repository.sslcert and repository.sslkey",
    ),
    Advice("SSL required", SourceRefused, "set repository.sslmode to verify-full or verify-ca"),
    Advice(
        "invalid response to SSL negotiation|expected authentication request|wrong version number",
        SourceRefused,
        f"what answers there is not PostgreSQL; check {_PORT}",
    ),
    Advice("certificate|SSL", SourceRefused, f"check repository.sslmode and repository.sslrootcert, and {_PORT}"),
    Advice(
        "resolve host|translate host name",
        SourceUnreachable,
        "check the name in repository.hosts and this machine's DNS",
    ),
    Advice(
        "Connection refused",
        SourceUnreachable,
        f"nothing listens there; check that Tableau Server runs, that access is enabled ({ENABLE}), firewalls, and"
        f" {_PORT}",
    ),
    Advice(
        "No such file or directory",
        SourceUnreachable,
        "no server has its socket there; check the folder and the port in repository.hosts",
    ),
    Advice(
        "server closed the connection",
        SourceUnreachable,
        f"no answer of PostgreSQL's; check {_PORT}, whether only TLS is spoken there, and PostgreSQL's log",
    ),
    Advice(
        "timeout expired|timed out|No route to host|unreachable|did not answer in time",
        SourceUnreachable,
        f"no answer of PostgreSQL's; check {_PORT}, firewalls, and whether the server or a pooler hangs",
    ),
)


def connection_error(place: str, error: Exception, password: str | None) -> SourceError:
    """Explain why no connection came about: one line, without the password."""
    answers = [line[found.end() :] for line in str(error).splitlines() if (found := _PLACE.search(line))]
    texts = answers or str(error).splitlines()[:1]
    text = "; ".join(dict.fromkeys(_SEVERITY.sub("", text) for text in texts))
    line = f"{place}: {_line(text, password)}"
    for advice in CONNECTION_ADVICE:
        if advice.fits(text):
            return advice.kind(f"{line}: {advice.remedy}")
    if any(_SEVERITY.match(answer) for answer in answers):
        return SourceRefused(f"{line}: {UNKNOWN_ANSWER}")
    return SourceUnreachable(f"{line}: check {_PORT}")


def statement_error(place: str, error: Exception, password: str | None) -> SourceError:
    """Explain why a statement failed on a connection that had come about: one line, without the password."""
    # Lines that libpq adds begin with a tab.
    text = " ".join(part for part in str(error).splitlines() if not part.startswith("\t"))
    line = f"{place}: {_line(text, password)}"
    for advice in POOLER_ADVICE:
        if advice.fits(text):
            return advice.kind(f"{line}: {advice.remedy}")
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith(_REFUSALS):
        return SourceRefused(f"{line}: check repository.user and its rights")
    # A server that reports why a statement failed (a lock, its timeout) is there for the next.
    answered = bool(state) and not state.startswith(_CONNECTION_LOST)
    if isinstance(error, psycopg.OperationalError | OSError) and not answered:
        return SourceUnreachable(line)
    return (SourceTimedOut if state == _TIMED_OUT else SourceError)(line)


def _line(text: str, password: str | None) -> str:
    """Make one short printable line of a text, without the password."""
    if password:
        text = safe_text(text, (password,))
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = " ".join(text.split()).rstrip(":") or _NEVER_ANSWERED
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} ..."
