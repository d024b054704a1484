"""One bad file for each rule of the configuration, with the exact lines that refuse it."""

import textwrap
from pathlib import Path

import pytest

from exporter.exports import FORMATS, TEXT_FILES
from tests.config.conftest import FaultsOf

ZZZ = "collectors.zzz: unknown collector: the known are http_requests, views"
SOURCE = "repository: {hosts: [db]}\n"

SSLMODES = "disable, allow, prefer, require, verify-ca, verify-full"
DURATION = "must be a duration such as 500ms, 30s, 5m, 1h30m, 12h, 730d, 2w or 1y"
NO_UNIT = "has no unit: write 30s, 5m, 12h or 730d"
LISTEN = "must be host:port, such as 127.0.0.1:10071, [::1]:10071, or :10071 for every address"
APP = "client_id: a, secret_id: b, secret_value: hunter2, user: c"
CREDENTIALS = "must carry no user, password or query: credentials come from the environment of the agent"
TWO_PROOFS = "stands beside basic_auth: give one of the two"

BAD: dict[str, tuple[str, list[str]]] = {
    "nothing at all": ("", ["repository: is missing: configure repository, rest or activity_log"]),
    "no mapping": ("- repository", ["tableau-exporter.yml: must be a mapping of sections"]),
    "no YAML": (
        "repository: [",
        ["tableau-exporter.yml: is no YAML: line 1, column 14: expected the node content, but found '<stream end>'"],
    ),
    "key given twice": (
        "repository:\n  hosts: [db]\n  user: a\n  user: b\n",
        ["repository.user: is given twice, in line 3 and in line 4"],
    ),
    "unknown section": (SOURCE + "webb: {}", ["webb: unknown key, did you mean web?"]),
    "unknown key": ("repository: {hosts: [db], zzz: 1}", ["repository.zzz: unknown key"]),
    "unknown key like a known one": (
        "repository: {hosts: [db], datbase: x}",
        ["repository.datbase: unknown key, did you mean database?"],
    ),
    "a section that is a value": ("repository: db", ["repository: must be a mapping of keys"]),
    "a value that is a list": (
        "repository: {hosts: [db], user: [a]}",
        ["repository.user: must be one value, not a list or a mapping"],
    ),
    "a duration that is a list": (
        "repository: {hosts: [db], poll_interval: [1s]}",
        ["repository.poll_interval: must be one value, not a list or a mapping"],
    ),
    "an empty value": ("repository: {hosts: [db], user: ''}", ["repository.user: must not be empty"]),
    "no hosts": ("repository: {user: me}", ["repository.hosts: is missing"]),
    "empty hosts": ("repository: {hosts: []}", ["repository.hosts: must not be empty"]),
    "no host": (
        "repository: {hosts: [db, 'a b']}",
        ["repository.hosts.1: must be host:port, [::1]:8060 or the folder of a Unix socket"],
    ),
    "no port": ("repository: {hosts: ['db:99999']}", ["repository.hosts.0: must have a port from 1 to 65535"]),
    "sslmode": ("repository: {hosts: [db], sslmode: full}", [f"repository.sslmode: must be one of {SSLMODES}"]),
    "certificate that is not there": (
        "repository: {hosts: [db], sslrootcert: /nowhere/ca.crt}",
        ["repository.sslrootcert: cannot be read: No such file or directory"],
    ),
    "certificate that is a folder": (
        "repository: {hosts: [db], sslrootcert: /}",
        ["repository.sslrootcert: cannot be read: Is a directory"],
    ),
    "certificates of the system without full verification": (
        "repository: {hosts: [db], sslmode: require, sslrootcert: system}",
        ["repository.sslrootcert: is system, which needs sslmode verify-full"],
    ),
    "key without a certificate": (
        "repository: {hosts: [db], sslkey: tableau-exporter.yml}",
        ["repository.sslkey: has no certificate: give sslcert too"],
    ),
    "duration without a unit": (
        "repository: {hosts: [db], poll_interval: 60}",
        [f"repository.poll_interval: {NO_UNIT}"],
    ),
    "zero without a unit": ("repository: {hosts: [db], exact_interval: 0}", [f"repository.exact_interval: {NO_UNIT}"]),
    "no duration": ("repository: {hosts: [db], poll_interval: soon}", [f"repository.poll_interval: {DURATION}"]),
    "interval too short": (
        "repository: {hosts: [db], poll_interval: 999ms}",
        ["repository.poll_interval: must be 1s or longer"],
    ),
    "timeout of nothing": (
        "repository: {hosts: [db], statement_timeout: 0s}",
        ["repository.statement_timeout: must be 1ms or longer"],
    ),
    "timeout too long": (
        "repository: {hosts: [db], connect_timeout: 2d}",
        ["repository.connect_timeout: must be 1d or shorter"],
    ),
    "secret and its file": (
        "repository: {hosts: [db], password: hunter2, password_file: secret}",
        ["repository.password_file: stands beside password: give one of the two"],
    ),
    "secret's file that is not there": (
        "repository: {hosts: [db], password_file: hunter2}",
        ["repository.password_file: cannot be read: No such file or directory"],
    ),
    "secret's file that is empty": (
        "repository: {hosts: [db], password_file: empty}",
        ["repository.password_file: names an empty file"],
    ),
    "secret's file that is no text": (
        "repository: {hosts: [db], password_file: binary}",
        ["repository.password_file: cannot be read: it is not UTF-8 text"],
    ),
    "empty secret": ("repository: {hosts: [db], password: ''}", ["repository.password: must not be empty"]),
    "secret that is a list": (
        "repository: {hosts: [db], password: [hunter2]}",
        ["repository.password: must be one value, not a list or a mapping"],
    ),
    "empty rest": (
        "rest: {}",
        [
            "rest.url: is missing",
            "rest.token_name: is missing: give token_name and token_value, or connected_app",
            "rest.token_value_file: is missing: give token_value or token_value_file",
        ],
    ),
    "empty activity_log": (
        "activity_log: {}",
        [
            "activity_log.url: is missing",
            "activity_log.token_value_file: is missing: give token_value or token_value_file",
        ],
    ),
    "activity_log": (
        """
        activity_log:
          url: tcm
          token_value: hunter2
          token_value_file: secret
          sites: [a, a]
          poll_interval: 15
          overlap: 1m
          event_types: [vizql_http_request, "a&b"]
          duration_unit: minutes
        """,
        [
            "activity_log.url: must be a URL such as https://tableau.example.com",
            "activity_log.token_value_file: stands beside token_value: give one of the two",
            "activity_log.sites: has the same entry twice, at places 0 and 1 (from 0)",
            "activity_log.poll_interval: has no unit: write 30s, 5m, 12h or 730d",
            "activity_log.overlap: must be 1h or longer",
            "activity_log.event_types.1: must be names such as vizql_http_request: letters, digits and _",
            "activity_log.duration_unit: must be one of ms, s",
        ],
    ),
    "rest.url": (
        "rest: {url: tableau, token_name: a, token_value: b}",
        ["rest.url: must be a URL such as https://tableau.example.com"],
    ),
    "rest.url with a password": (
        "rest: {url: 'https://me:hunter2@tableau', token_name: a, token_value: b}",
        ["rest.url: must not carry a user or a password: they have keys of their own"],
    ),
    "both tokens": (
        "rest: {url: https://tableau, token_name: a, token_value: hunter2, token_value_file: secret}",
        ["rest.token_value_file: stands beside token_value: give one of the two"],
    ),
    "a token without a name": (
        "rest: {url: https://tableau, token_value: hunter2}",
        ["rest.token_name: is missing: give token_name and token_value, or connected_app"],
    ),
    "a token without a value": (
        "rest: {url: https://tableau, token_name: a}",
        ["rest.token_value_file: is missing: give token_value or token_value_file"],
    ),
    "empty connected app": (
        "rest: {url: https://tableau, connected_app: {}}",
        [
            "rest.connected_app.client_id: is missing",
            "rest.connected_app.secret_id: is missing",
            "rest.connected_app.secret_value_file: is missing: give secret_value or secret_value_file",
            "rest.connected_app.user: is missing",
        ],
    ),
    "both secrets of a connected app": (
        f"rest: {{url: https://tableau, connected_app: {{{APP}, secret_value_file: secret}}}}",
        ["rest.connected_app.secret_value_file: stands beside secret_value: give one of the two"],
    ),
    "token and connected app": (
        f"rest: {{url: https://tableau, connected_app: {{{APP}}}, token_name: a, token_value: hunter2}}",
        [
            "rest.token_name: stands beside connected_app: give one of the two",
            "rest.token_value: stands beside connected_app: give one of the two",
        ],
    ),
    "token's file and connected app": (
        f"rest: {{url: https://tableau, connected_app: {{{APP}}}, token_value_file: secret}}",
        ["rest.token_value_file: stands beside connected_app: give one of the two"],
    ),
    "a site given twice": (
        "rest: {url: https://tableau, token_name: a, token_value: b, sites: [hunter2, b, hunter2]}",
        ["rest.sites: has the same entry twice, at places 0 and 2 (from 0)"],
    ),
    "fewer look-ups than none": (
        "rest: {url: https://tableau, token_name: a, token_value: b, job_lookups_per_day: -1}",
        ["rest.job_lookups_per_day: must be 0 or more"],
    ),
    "retention": (SOURCE + "history: {retention: 30m}", ["history.retention: must be 1d or longer"]),
    "size without a unit": (
        SOURCE + "history: {memory_limit: 256}",
        ["history.memory_limit: has no unit: write 256MB (decimal) or 1GiB (binary)"],
    ),
    "no size": (
        SOURCE + "history: {memory_limit: 256M}",
        ["history.memory_limit: must be a size such as 64MB, 256MiB, 1GB or 2GiB"],
    ),
    "size too small": (SOURCE + "history: {memory_limit: 1MB}", ["history.memory_limit: must be 32MB or more"]),
    "no number": (SOURCE + "history: {threads: two}", ["history.threads: must be a whole number"]),
    "number too small": (SOURCE + "history: {threads: 0}", ["history.threads: must be 1 or more"]),
    "number too large": (SOURCE + "history: {threads: 1000}", ["history.threads: must be 256 or less"]),
    "privacy.users": (SOURCE + "privacy: {users: hash}", ["privacy.users: must be one of name, pseudonym, none"]),
    "privacy.addresses": (
        SOURCE + "privacy: {addresses: half}",
        ["privacy.addresses: must be one of full, truncated, none"],
    ),
    "freshness without a unit": (SOURCE + "freshness: {warning: 12}", [f"freshness.warning: {NO_UNIT}"]),
    "freshness out of order": (
        SOURCE + "freshness: {warning: 4h, critical: 2h}",
        ["freshness.critical: is shorter than warning; the defaults are warning 12h and critical 24h"],
    ),
    "freshness out of order with the default": (
        SOURCE + "freshness: {warning: 48h}",
        ["freshness.critical: is shorter than warning; the defaults are warning 12h and critical 24h"],
    ),
    "grace without a unit": (SOURCE + "freshness: {schedule_grace: 1}", [f"freshness.schedule_grace: {NO_UNIT}"]),
    "rules that are no list": (SOURCE + "freshness: {rules: {}}", ["freshness.rules: must be a list"]),
    "rule without match": (SOURCE + "freshness: {rules: [{warning: 1h}]}", ["freshness.rules.0.match: is missing"]),
    "rule that matches nothing": (
        SOURCE + "freshness: {rules: [{match: {}, warning: 1h}]}",
        [
            "freshness.rules.0.match: matches nothing: give one of site, project, asset_type, name, tag, content_owner",
        ],
    ),
    "rule with an unknown key": (
        SOURCE + "freshness: {rules: [{match: {name: a}, warning: 1h}, {match: {projct: a}, warning: 1h}]}",
        ["freshness.rules.1.match.projct: unknown key, did you mean project?"],
    ),
    "rule without a tier": (
        SOURCE + "freshness: {rules: [{match: {name: a}}]}",
        ["freshness.rules.0.critical: is missing: a rule sets warning, critical or both"],
    ),
    "rule out of order": (
        SOURCE + "freshness: {rules: [{match: {name: a}, warning: 2h, critical: 1h}]}",
        ["freshness.rules.0.critical: is shorter than warning"],
    ),
    "asset_type": (
        SOURCE + "freshness: {rules: [{match: {asset_type: [workbook, view]}, warning: 2h}]}",
        ["freshness.rules.0.match.asset_type.1: must be one of workbook, datasource, flow"],
    ),
    "empty glob": (
        SOURCE + "freshness: {rules: [{match: {tag: ['']}, warning: 2h}]}",
        ["freshness.rules.0.match.tag.0: must not be empty"],
    ),
    "unknown collector": (
        SOURCE + "collectors: {vews: true, zzz: true}",
        [
            "collectors.vews: unknown collector, did you mean views?",
            "collectors.zzz: unknown collector: the known are http_requests, views",
        ],
    ),
    "collector neither on nor off": (
        SOURCE + "collectors: {views: maybe}",
        ["collectors.views: must be true or false"],
    ),
    "collectors that are a list": (SOURCE + "collectors: [views]", ["collectors: must be a mapping of names"]),
    "a history that is a URL": (
        SOURCE + "history: {path: 'https://me:hunter2@a.example'}",
        ["history.path: begins with https:, to DuckDB the name of another store: name a file"],
    ),
    "a history whose name is too long": (
        SOURCE + f"history: {{path: {'9' * 400}}}",
        ["history.path: cannot be read: File name too long"],
    ),
    "path of the metrics": (
        SOURCE + "web: {telemetry_path: /assets.csv}",
        ["web.telemetry_path: is the path of a page of the agent: choose another"],
    ),
    "paths": (
        SOURCE + "web: {telemetry_path: 'a?b', route_prefix: a/../b}",
        [
            "web.telemetry_path: must be a path such as /tableau: letters, digits, - . _ ~ and / between names",
            "web.route_prefix: must be a path such as /tableau: letters, digits, - . _ ~ and / between names",
        ],
    ),
    "path of the external URL": (
        SOURCE + "web: {external_url: 'https://a/b%20c'}",
        ["web.route_prefix: must be a path such as /tableau: letters, digits, - . _ ~ and / between names"],
    ),
    "limits": (
        SOURCE + "limits: {series_per_family: 0, series: 0}",
        ["limits.series_per_family: must be 1 or more", "limits.series: must be 1 or more"],
    ),
    "no alertmanager": (SOURCE + "alertmanager: {urls: []}", ["alertmanager.urls: must not be empty"]),
    "alertmanager.urls": (
        SOURCE + "alertmanager: {urls: ['alertmanager:9093']}",
        ["alertmanager.urls.0: must be a URL such as https://tableau.example.com"],
    ),
    "an alertmanager twice": (
        SOURCE + "alertmanager: {urls: ['http://a', 'http://b', 'http://a/']}",
        ["alertmanager.urls: has the same entry twice, at places 0 and 2 (from 0)"],
    ),
    "alertmanager.runbook_url": (
        SOURCE + "alertmanager: {urls: [http://a], runbook_url: docs/runbooks}",
        ["alertmanager.runbook_url: must be a URL such as https://tableau.example.com"],
    ),
    "alertmanager.dashboard_url": (
        SOURCE + "alertmanager: {urls: [http://a], dashboard_url: grafana.example.com}",
        ["alertmanager.dashboard_url: must be a URL such as https://tableau.example.com"],
    ),
    "alertmanager.labels": (
        SOURCE + "alertmanager: {urls: [http://a], labels: {deployment: '', 1st: a, severity: page, __a: b}}",
        [
            "alertmanager.labels.deployment: must not be empty",
            "alertmanager.labels.1st: is no label: letters, digits and _, no digit first, no __ first",
            "alertmanager.labels.severity: is a label that alerts have already",
            "alertmanager.labels.__a: is no label: letters, digits and _, no digit first, no __ first",
        ],
    ),
    "alertmanager.owner_email_label": (
        SOURCE + "alertmanager: {urls: [http://a], owner_email_label: maybe}",
        ["alertmanager.owner_email_label: must be true or false"],
    ),
    "basic_auth without a password": (
        SOURCE + "alertmanager: {urls: [http://a], basic_auth: {username: me}}",
        ["alertmanager.basic_auth.password_file: is missing: give password or password_file"],
    ),
    "basic_auth with both": (
        SOURCE + "alertmanager: {urls: [http://a], basic_auth: {username: me, password: x, password_file: secret}}",
        ["alertmanager.basic_auth.password_file: stands beside password: give one of the two"],
    ),
    "basic_auth and bearer_token": (
        SOURCE + "alertmanager: {urls: [http://a], basic_auth: {username: me, password: x}, bearer_token: hunter2}",
        [f"alertmanager.bearer_token: {TWO_PROOFS}"],
    ),
    "basic_auth and bearer_token_file": (
        SOURCE + "alertmanager: {urls: [http://a], basic_auth: {username: me, password: x}, bearer_token_file: secret}",
        [f"alertmanager.bearer_token_file: {TWO_PROOFS}"],
    ),
    "both bearer tokens": (
        SOURCE + "alertmanager: {urls: [http://a], bearer_token: hunter2, bearer_token_file: secret}",
        ["alertmanager.bearer_token_file: stands beside bearer_token: give one of the two"],
    ),
    "client key without a certificate": (
        SOURCE + "alertmanager: {urls: [http://a], tls: {key_file: tableau-exporter.yml}}",
        ["alertmanager.tls.key_file: has no certificate: give cert_file too"],
    ),
    "exports that are no list": (SOURCE + "exports: {format: csv}", ["exports: must be a list"]),
    "empty export": (
        SOURCE + "exports: [{}]",
        ["exports.0.format: is missing", "exports.0.output: is missing", "exports.0.every: is missing"],
    ),
    "format of an export": (
        SOURCE + "exports: [{format: xml, table: usage, output: x, every: 1h}]",
        [f"exports.0.format: must be one of {', '.join(FORMATS)}"],
    ),
    "export without a table": (
        SOURCE + "exports: [{format: csv, output: x, every: 1h}]",
        ["exports.0.table: is missing"],
    ),
    "unknown tables": (
        SOURCE + "exports: [{format: csv, table: usages, output: x, every: 1h},"
        " {format: text, table: zzzz, output: x, every: 1h},"
        " {format: csv, table: Extracts_To_Workbooks, output: x, every: 1h}]",
        [
            "exports.0.table: is no table of the history, did you mean usage?",
            f"exports.1.table: the files of the format text are {', '.join(TEXT_FILES)}",
            "exports.2.table: only the format text knows it",
        ],
    ),
    "no output": (
        SOURCE + "exports: [{format: csv, table: usage, output: [], every: 1h}]",
        ["exports.0.output: must not be empty"],
    ),
    "an output twice": (
        SOURCE + "exports: [{format: csv, table: usage, output: [x, y, x], every: 1h}]",
        ["exports.0.output: has the same entry twice, at places 0 and 2 (from 0)"],
    ),
    "credentials in outputs": (
        SOURCE + "exports: [{format: csv, table: usage, output: 's3://me:hunter2@lake/x', every: 1h},"
        " {format: csv, table: usage, output: 's3://hunter2@lake/x', every: 1h},"
        " {format: csv, table: usage, output: 'az://lake/x?sig=hunter2', every: 1h},"
        " {format: csv, table: usage, output: 's3://me:hun/ter2@lake/x', every: 1h}]",
        [
            *(f"exports.{index}.output: {CREDENTIALS}" for index in range(3)),
            "exports.3.output: must be a folder or a URI such as s3://bucket/folder",
        ],
    ),
    "outputs that cannot be written": (
        SOURCE + "exports: [{format: text, output: 's3://lake/x', every: 1h},"
        " {format: csv, table: usage, output: 'ftp://lake/x', every: 1h}]",
        [
            "exports.0.output: must be a folder: text is not written to an object store",
            "exports.1.output: has an unknown scheme; there are s3://, abfss://, az://, gs:// and file://",
        ],
    ),
    "export too often": (
        SOURCE + "exports: [{format: csv, table: usage, output: x, every: 10ms}]",
        ["exports.0.every: must be 1s or longer"],
    ),
    "instants": (
        SOURCE + "exports: [{format: csv, table: usage, output: x, every: 1h, since: yesterday},"
        " {format: csv, table: counters, output: x, every: 1h, since: 2025-01-01}]",
        [
            "exports.0.since: must be an instant such as 2025-01-01, 2025-01-01T06:00:00 or 2025-01-01T06:00:00+01:00",
            "exports.1.since: bounds nothing: the table has no time",
        ],
    ),
    "keys of text": (
        SOURCE + "exports: [{format: csv, table: usage, output: x, every: 1h, timezone: UTC, delimiter: ;},"
        " {format: text, output: x, every: 1h, timezone: Europe, delimiter: '||'}]",
        [
            "exports.0.timezone: is for the format text alone",
            "exports.0.delimiter: is for the format text alone",
            "exports.1.timezone: is no time zone of the IANA database, such as Europe/Berlin",
            "exports.1.delimiter: is one character, neither a quote nor the end of a line",
        ],
    ),
    "publish": (
        SOURCE + "exports: [{format: csv, table: usage, output: x, every: 1h, publish: {token_name: a, sites: b}}]",
        [
            "exports.0.publish: needs rest.url: the server that is published to",
            "exports.0.publish.project: is missing",
            "exports.0.publish.name: is missing",
            "exports.0.publish.token_value_file: is missing: give token_value or token_value_file",
            "exports.0.publish.sites: unknown key, did you mean site?",
        ],
    ),
    "publish of another format": (
        """
            rest: {url: https://tableau, token_name: a, token_value: b}
            exports:
            - {format: csv, table: usage, output: x, every: 1h,
               publish: {project: a, name: b, token_name: c, token_value: hunter2}}
        """,
        ["exports.0.publish: is for the format hyper alone"],
    ),
    "the same export twice": (
        SOURCE
        + "exports: [{format: text, table: logins, output: x, every: 1h}, {format: text, output: [y, x], every: 1d}]",
        ["exports: write the same table to the same output, in places 0 and 1 (from 0)"],
    ),
    "web.listen_address": (SOURCE + "web: {listen_address: 10071}", [f"web.listen_address: {LISTEN}"]),
    "web.config_file": (
        SOURCE + "web: {config_file: web.yml}",
        ["web.config_file: cannot be read: No such file or directory"],
    ),
    "log.level": (SOURCE + "log: {level: loud}", ["log.level: must be one of debug, info, warning, error"]),
    "log.format": (SOURCE + "log: {format: xml}", ["log.format: must be one of logfmt, json"]),
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the bad ones name, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("from the file\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize("rule", BAD)
def test_a_bad_file_is_refused(faults_of: FaultsOf, rule: str) -> None:
    """Each rule has its exact line, and no line repeats a secret."""
    text, lines = BAD[rule]
    assert faults_of(text) == lines
    assert "hunter2" not in "".join(lines)


def test_every_fault_is_told_at_once(faults_of: FaultsOf) -> None:
    """One load reports the faults of the file, of the environment and of the command line."""
    text = """
        repository: {hosts: [db], hosts: [db], usr: me, poll_interval: 60}
        freshness: {rules: [{match: {projct: a}}]}
        history: {threads: none}
    """
    environ = {"TABLEAU_EXPORTER_WEBB": "x", "TABLEAU_EXPORTER_LOG__LEVEL": "loud"}
    assert faults_of(textwrap.dedent(text), environ, web__listen_address="here") == [
        "repository.hosts: is given twice, in line 2 and in line 2",
        "TABLEAU_EXPORTER_WEBB: unknown key, did you mean TABLEAU_EXPORTER_WEB?",
        f"repository.poll_interval: {NO_UNIT}",
        "repository.usr: unknown key, did you mean user?",
        "history.threads: must be a whole number",
        "freshness.rules.0.match.projct: unknown key, did you mean project?",
        "freshness.rules.0.critical: is missing: a rule sets warning, critical or both",
        f"web.listen_address: {LISTEN} (set by the command line)",
        "log.level: must be one of debug, info, warning, error (set by TABLEAU_EXPORTER_LOG__LEVEL)",
    ]


def test_a_broken_file_hides_no_fault_of_the_environment(faults_of: FaultsOf) -> None:
    """An unreadable file is reported together with the variables that are no keys."""
    assert faults_of("- a", {"TABLEAU_EXPORTER_X": "1"}) == [
        "tableau-exporter.yml: must be a mapping of sections",
        "TABLEAU_EXPORTER_X: unknown key",
    ]
