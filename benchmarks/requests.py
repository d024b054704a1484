"""A repository with as many requests as asked for, made inside PostgreSQL: about 500 bytes a row."""

from exporter.repository.connection import connect

TABLE = """
    CREATE TABLE http_requests (
        id bigserial PRIMARY KEY, controller varchar, action varchar, http_referer varchar, http_user_agent varchar,
        http_request_uri text, remote_ip varchar, created_at timestamp, session_id varchar, completed_at timestamp,
        port integer, user_id integer, worker varchar, status integer, user_cookie varchar, user_ip varchar,
        vizql_session text, site_id integer, currentsheet varchar, flags_used bigint
    )
"""

# One row in ten carries a trusted ticket, one in ten a query string, every other referer a token.
ROWS = """
    INSERT INTO http_requests (
        controller, action, http_referer, http_user_agent, http_request_uri, remote_ip, created_at, session_id,
        completed_at, port, user_id, worker, status, user_cookie, user_ip, vizql_session, site_id, currentsheet,
        flags_used
    )
    SELECT
        (ARRAY['vizql', 'views', 'workgroup', 'vizportal'])[1 + n % 4],
        (ARRAY['bootstrapSession', 'performPostLoadOperations', 'sessions', 'show', 'tilecache', 'login'])[1 + n % 6],
        'https://tableau.example.com/t/site' || n % 5 || '/views/Workbook' || n % 300 || '/Sheet' || n % 7
            || CASE WHEN n % 2 = 0 THEN '?:embed=y&token=' || md5(n::text) ELSE '' END,
        'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/' || 100 + n % 20
            || '.0.0.0 Safari/537.36',
        CASE n % 10
            WHEN 0 THEN '/trusted/' || md5(n::text) || '/views/Workbook' || n % 300 || '/Sheet' || n % 7
            WHEN 1 THEN '/views/Workbook' || n % 300 || '/Sheet' || n % 7 || '?:embed=y&:refresh=y&p=' || n
            ELSE '/vizql/t/site' || n % 5 || '/w/Workbook' || n % 300 || '/v/Sheet' || n % 7 || '/sessions/'
                || upper(md5((n / 10)::text)) || '-0:0/commands'
        END,
        '10.' || n % 200 || '.' || n % 250 || '.7',
        now() AT TIME ZONE 'UTC' - interval '5 days' + n * interval '0.04 second',
        upper(md5((n / 50)::text)),
        now() AT TIME ZONE 'UTC' - interval '5 days' + n * interval '0.04 second' + (n % 4000) * interval '1 ms',
        8000 + n % 4, 1 + n % 900, 'worker' || n % 3,
        (ARRAY[200, 200, 200, 200, 302, 404, 500, NULL])[1 + n % 8],
        md5(n::text), '10.' || n % 200 || '.' || n % 250 || '.7', upper(md5((n / 10)::text)) || '-0:0', 1 + n % 5,
        'Workbook' || n % 300 || '/Sheet' || n % 7, 0
    FROM generate_series({first}, {last}) AS n
"""


def fill(parameters: dict[str, str | int], first: int, last: int) -> None:
    """Add requests numbered from first to last."""
    with connect(parameters) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS" + TABLE.split("CREATE TABLE", 1)[1])
        connection.execute(ROWS.format(first=first, last=last))
        connection.execute("VACUUM ANALYZE http_requests")


def floor(parameters: dict[str, str | int]) -> None:
    """Let the server read and format every row, and throw it away: the least any reader can cost."""
    with connect(parameters) as connection:
        connection.execute("COPY http_requests TO '/dev/null' (FORMAT binary)")
