"""A real Alertmanager accepts every alert unchanged, and each fault of a login is one line."""

import json
import re
import ssl
import time
import urllib.parse
from pathlib import Path

import httpx
import pytest
import trustme

from exporter.alerting.alertmanager import Alertmanager, AlertmanagerOptions, Authorization
from exporter.alerting.notification import MAX_ANNOTATION, Notification, bounded_annotations, bounded_labels
from exporter.errors import ConfigurationError, Fault, NotificationFailed
from exporter.metrics import Labels
from tests.alerting.conftest import PASSWORD, Secured, alert, held, write_certificate

HOSTILE = {
    "nul": "a\x00b",
    "lines": "a\nb\r\nc",
    "surrogate": "a\ud800b\udfff",
    "quotes": "\"\\n'{}`$(x)",
    "markup": "<script>alert(1)</script>{{ template }}",
    "signs": "\U0001f468\u200d\U0001f469 売上 \u202eevil\u2066",
    "long": "ж" * 255,
    "spaces": " a ",
}


def test_alerts_arrive(plain: str, test_name: str) -> None:
    """Alertmanager accepts every alert and holds it as it was sent."""
    alerts = [alert(test=test_name, number=str(number)) for number in range(300)]
    sent = Alertmanager(AlertmanagerOptions(plain)).send(alerts)
    assert (sent.accepted, sent.refused) == (alerts, [])
    there = held(plain, "test", test_name)
    assert {one["labels"]["number"] for one in there} == {str(number) for number in range(300)}
    assert all(one["annotations"] == {"summary": "TableauAssetStale"} for one in there)


def test_labels_of_a_deployment_are_on_every_alert(plain: str, test_name: str) -> None:
    """Configured labels and annotations arrive with each alert, which is the same alert from any sender."""
    alerts = [alert(test=test_name, number=str(number)) for number in range(300)]
    assert Alertmanager(AlertmanagerOptions(plain, labels={"deployment": "eu"})).send(alerts).accepted == alerts
    there = held(plain, "test", test_name)
    assert [one["labels"]["deployment"] for one in there] == ["eu"] * 300


def test_an_end_in_the_past_resolves(plain: str, test_name: str) -> None:
    """Alertmanager drops an ended alert, and accepts the end of an unknown one."""
    alertmanager, firing = Alertmanager(AlertmanagerOptions(plain)), alert(test=test_name)
    alertmanager.send([firing])
    assert len(held(plain, "test", test_name)) == 1
    ended = Notification(firing.labels, firing.annotations, firing.starts_at - 10, time.time() - 1)
    assert alertmanager.send([ended]).accepted == [ended]
    assert held(plain, "test", test_name) == []


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names_arrive_as_prometheus_has_them(kind: str, plain: str, test_name: str) -> None:
    """Alertmanager reads a label from Tableau as Prometheus reads it from the exposition."""
    name = HOSTILE[kind]
    Alertmanager(AlertmanagerOptions(plain)).send([alert(test=test_name, asset_name=name)])
    (there,) = held(plain, "test", test_name)
    exposed = Labels(["asset_name"], [[there["labels"]["asset_name"]]]).text
    assert exposed == Labels(["asset_name"], [[name]]).text


def test_texts_are_bounded(plain: str, test_name: str) -> None:
    """An error text of ten thousand characters, and a name of as many, arrive cut."""
    now, labels = time.time(), bounded_labels({"alertname": "A", "test": test_name, "asset_name": "n" * 10_000})
    long = Notification(labels, bounded_annotations({"error": "Ж\n" * 5_000}), now, now + 60)
    assert Alertmanager(AlertmanagerOptions(plain)).send([long]).accepted == [long]
    (there,) = held(plain, "test", test_name)
    assert there["labels"] == dict(labels)
    assert len(there["annotations"]["error"]) == MAX_ANNOTATION


def test_the_invalid_are_named_and_the_valid_are_taken(plain: str, test_name: str) -> None:
    """One alert that cannot be had costs no other; it is refused once, with Alertmanager's reason."""
    now = time.time()
    good = [alert(test=test_name, number=str(number)) for number in range(40)]
    ends_first = Notification(bounded_labels({"alertname": "A", "test": test_name}), {}, now, now - 60)
    misnamed = Notification((("alertname", "B"), ("bad-name", "x"), ("test", test_name)), {}, now, now + 60)
    nameless = Notification((), {}, now, now + 60)
    sent = Alertmanager(AlertmanagerOptions(plain)).send(
        [*good[:7], ends_first, *good[7:20], misnamed, nameless, *good[20:]]
    )
    assert {one.labels for one in sent.accepted} == {one.labels for one in good}
    assert len(sent.accepted) == len(good)
    reasons = {one.labels: reason for one, reason in sent.refused}
    assert reasons.keys() == {ends_first.labels, misnamed.labels, nameless.labels}
    assert reasons[ends_first.labels] == "start time must be before end time"
    assert "bad-name" in reasons[misnamed.labels]
    assert reasons[nameless.labels]
    assert len(held(plain, "test", test_name)) == 40
    assert {one["labels"]["number"] for one in held(plain, "test", test_name)} == {str(n) for n in range(40)}


def test_an_empty_batch_is_taken(plain: str) -> None:
    """Every Alertmanager accepts the batch that distinguishes a refused alert from a refused sender."""
    answer = httpx.post(f"{plain}/api/v2/alerts", json=[], timeout=60)
    assert (answer.status_code, answer.content) == (200, b"")


def test_nothing_to_say_is_said_to_nobody() -> None:
    """Without alerts no request is sent."""
    assert Alertmanager(AlertmanagerOptions("http://127.0.0.1:1")).send([]).accepted == []


def test_its_version_is_read(plain: str) -> None:
    """The check reports the version and cluster of the Alertmanager that answers."""
    expected = httpx.get(f"{plain}/api/v2/status").json()["versionInfo"]["version"]
    assert Alertmanager(AlertmanagerOptions(plain)).version() == expected


def test_a_secured_alertmanager_is_notified(secured: Secured, test_name: str) -> None:
    """TLS, a client's certificate, a user with a password in any script, and a path before the API."""
    alertmanager = Alertmanager(secured.login())
    assert alertmanager.version()
    notified = alert(test=test_name)
    assert alertmanager.send([notified]).accepted == [notified]
    alertmanager.close()
    assert alertmanager.url == secured.url
    files = (str(secured.folder / "client.crt"), str(secured.folder / "client.key"))
    context = ssl.create_default_context(cafile=secured.folder / "ca.crt")
    context.load_cert_chain(*files)
    with httpx.Client(verify=context, auth=("exporter", PASSWORD)) as client:
        there = client.get(f"{secured.url}/api/v2/alerts").json()
    assert [one["labels"]["test"] for one in there if one["labels"].get("test") == test_name] == [test_name]


def failure(login: AlertmanagerOptions) -> str:
    """Return the line of a failure; checking and sending fail alike."""
    alertmanager = Alertmanager(login)
    with pytest.raises(NotificationFailed) as caught:
        alertmanager.version()
    line = str(caught.value)
    assert alertmanager.send([alert()]).failure == line
    assert "\n" not in line
    assert line.startswith(f"alertmanager {login.url}: ")
    return line


@pytest.mark.parametrize(
    "authorization",
    [None, ("exporter", "wrong-canary"), ("nobody", PASSWORD), "token-canary"],
    ids=["none", "password", "user", "token"],
)
def test_whoever_is_not_known_is_refused(secured: Secured, authorization: Authorization) -> None:
    """The line names the keys to check, and no secret."""
    line = failure(secured.login(authorization))
    assert "HTTP 401" in line
    assert line.endswith("check alertmanager.basic_auth or alertmanager.bearer_token")
    assert "canary" not in line


def test_certificates_are_checked(secured: Secured, tmp_path: Path) -> None:
    """Only the configured authority is trusted; a certificate for another name is refused."""
    advice = "check alertmanager.tls.ca_file, the host's name and whether its certificate expired"
    assert failure(secured.login(ca_file=None)).endswith(advice)
    elsewhere = AlertmanagerOptions(secured.url.replace("localhost", "127.0.0.1"), ca_file=secured.folder / "ca.crt")
    assert failure(elsewhere).endswith(advice)


def test_certificates_of_clients_are_shown(secured: Secured, tmp_path: Path) -> None:
    """Without a client certificate, or with one of another authority, the line names the keys to check."""
    write_certificate(trustme.CA(), tmp_path, "other")
    for name in (None, tmp_path / "other"):
        crt, key = (name and name.with_suffix(ending) for ending in (".crt", ".key"))
        alertmanager = Alertmanager(secured.login(cert_file=crt, key_file=key))
        with pytest.raises(NotificationFailed) as caught:
            alertmanager.version()
        for line in (str(caught.value), alertmanager.send([alert()]).failure or ""):
            assert re.search(r"certificate.*alertmanager\.tls\.cert_file", line)


def test_files_that_are_no_certificates(secured: Secured, tmp_path: Path) -> None:
    """A file that cannot be used is named."""
    broken, absent = tmp_path / "broken", tmp_path / "absent"
    broken.write_text("nothing\n")
    for path in (broken, absent):
        assert f"alertmanager.tls.ca_file {path}: " in failure(secured.login(ca_file=path))
        assert f"alertmanager.tls.cert_file {path}: " in failure(secured.login(cert_file=path))
    other = trustme.CA().issue_cert("localhost")
    other.private_key_pem.write_to_path(tmp_path / "other.key")
    assert "key values mismatch" in failure(secured.login(key_file=tmp_path / "other.key")).replace("_", " ").lower()


def test_files_are_read_anew_after_a_failure(secured: Secured, tmp_path: Path) -> None:
    """Replaced certificates are used without a restart."""
    (tmp_path / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    alertmanager = Alertmanager(secured.login(ca_file=tmp_path / "ca.crt"))
    with pytest.raises(NotificationFailed, match="certificate"):
        alertmanager.version()
    (tmp_path / "ca.crt").write_bytes((secured.folder / "ca.crt").read_bytes())
    assert alertmanager.version()


def test_secrets_are_asked_for_at_each_request(secured: Secured) -> None:
    """A password that was rotated is used at once; one that cannot be read is a line."""
    current: list[Authorization] = [("exporter", "old"), ("exporter", PASSWORD)]
    login = secured.login()
    alertmanager = Alertmanager(
        AlertmanagerOptions(login.url, lambda: current.pop(0), login.ca_file, login.cert_file, login.key_file)
    )
    with pytest.raises(NotificationFailed, match="HTTP 401"):
        alertmanager.version()
    assert alertmanager.version()

    def unreadable() -> Authorization:
        raise ConfigurationError([Fault("alertmanager.bearer_token_file", "cannot be read: Permission denied")])

    line = failure(AlertmanagerOptions(secured.url, unreadable))
    assert line == f"alertmanager {secured.url}: alertmanager.bearer_token_file: cannot be read: Permission denied"


def test_a_path_that_is_missing(secured: Secured) -> None:
    """Where Alertmanager serves below a path, the line reports that the path belongs into the URL."""
    login = secured.login()
    url = urllib.parse.urlsplit(secured.url)._replace(path="").geturl()
    line = failure(AlertmanagerOptions(url, login.authorization, login.ca_file, login.cert_file, login.key_file))
    assert "HTTP 404" in line
    assert line.endswith("where Alertmanager has a path prefix, the URL must have it too")


def test_the_wrong_scheme(secured: Secured, plain: str) -> None:
    """Plain http to a TLS port, and the reverse, are reported as such."""
    assert "check alertmanager.urls: http or https" in failure(
        AlertmanagerOptions(secured.url.replace("https:", "http:"))
    )
    assert "it may speak plain http there; check alertmanager.urls" in failure(
        AlertmanagerOptions(plain.replace("http:", "https:"))
    )


def test_what_failed_in_part_tells_the_rest(plain: str, test_name: str) -> None:
    """An error reports the batches that were accepted before it."""
    good = [alert(test=test_name, number=str(number)) for number in range(300)]
    proofs: list[Authorization] = [None, "not a\ntoken"]
    sent = Alertmanager(AlertmanagerOptions(plain, lambda: proofs.pop(0))).send(good)
    assert "has characters that no token has" in (sent.failure or "")
    assert sent.accepted == good[:256]
    assert sent.refused == []
    assert len(held(plain, "test", test_name)) == 256
    assert json.loads(good[0].to_json())["labels"]["test"] == test_name
