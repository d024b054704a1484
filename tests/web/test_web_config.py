"""The web configuration file: its keys, and the errors of its faults."""

from pathlib import Path

import pytest
import trustme

from exporter.errors import ConfigurationError
from exporter.web.web_config import Access, load_access

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """Return a folder with certificates; a.key belongs to a.crt and b.key does not."""
    for name in ("a", "b"):
        certificate = authority.issue_cert("localhost")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.crt")
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    return tmp_path


def load(folder: Path, text: str) -> Access:
    """Write a web configuration file and load it."""
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return load_access(path)


def faults(folder: Path, text: str) -> list[str]:
    """Return the faults of a web configuration file, one line each."""
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text)
    lines = [str(fault) for fault in caught.value.faults]
    assert not [line for line in lines if "\n" in line]
    return lines


@pytest.mark.parametrize(
    "text",
    ["{}", "basic_auth_users:\n", "http_server_config: {}\n", "http_server_config: {http2: true}\n"],
)
def test_a_file_that_says_nothing_changes_nothing(folder: Path, text: str) -> None:
    """Without users, headers and certificates every client may request over plain HTTP."""
    access = load(folder, text)
    assert (access.headers, access.passwords, access.tls) == ({}, None, None)


def test_a_whole_file_is_understood(folder: Path) -> None:
    """Certificates are found beside the file, headers and users are applied."""
    access = load(
        folder,
        f"""
        tls_server_config:
          cert_file: a.crt
          key_file: a.key
          client_auth_type: RequireAndVerifyClientCert
          client_ca_file: {folder / "ca.crt"}
          min_version: TLS13
        http_server_config:
          headers:
            X-Frame-Options: deny
            Strict-Transport-Security: max-age=3600
            X-XSS-Protection: ""
        basic_auth_users:
          alice: {HASH}
        """,
    )
    assert access.tls is not None
    assert access.passwords is not None
    assert access.headers == {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=3600"}


def test_every_fault_is_told_at_once(folder: Path) -> None:
    """Unknown keys, missing files, bad values and repeated keys of a file are reported together, each with its path."""
    lines = faults(
        folder,
        """
        tls_server_config: {cert_file: nowhere.crt, min_version: TLS10, cipher_suites: []}
        http_server_config: {headers: {X-Frame-Options: allow, Server: mine}, http2: maybe}
        basic_auth_users: {alice: wonderland, "a:b": "x", alice: 7}
        rate_limit: {burst: 1}
        """,
    )
    reported = {line.partition(": ")[0] for line in lines}
    assert reported == {
        "basic_auth_users.a:b",
        "basic_auth_users.alice",
        "http_server_config.headers.Server",
        "http_server_config.headers.X-Frame-Options",
        "http_server_config.http2",
        "rate_limit",
        "tls_server_config.cert_file",
        "tls_server_config.cipher_suites",
        "tls_server_config.key_file",
        "tls_server_config.min_version",
    }
    assert "basic_auth_users.alice: is given twice, in line 4 and in line 4" in lines
    assert "rate_limit: is not supported by this exporter: leave it out" in lines
    assert "http_server_config.headers.Server: unknown key" in lines
    assert "tls_server_config.key_file: is missing" in lines


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a list", "must be a mapping"),
        ("tls_server_config: yes", "tls_server_config: must be a mapping"),
        ("tls_server_config: {cert_file: a.crt, key_file: b.key}", "tls_server_config: the certificate, key and"),
        ("tls_server_config: {cert_file: web.yml, key_file: a.key}", "tls_server_config: the certificate, key and"),
        (
            "tls_server_config: {cert_file: a.crt, key_file: a.key, client_ca_file: ca.crt}",
            "tls_server_config: client_ca_file and a client_auth_type that verifies belong together",
        ),
        (
            "tls_server_config: {cert_file: a.crt, key_file: a.key, client_auth_type: RequireAndVerifyClientCert}",
            "tls_server_config: client_ca_file and a client_auth_type that verifies belong together",
        ),
        (
            "tls_server_config: {cert_file: a.crt, key_file: a.key, client_auth_type: RequireAnyClientCert}",
            "tls_server_config.client_auth_type: must be one of NoClientCert,",
        ),
        (
            "tls_server_config: {cert_file: a.crt, key_file: a.key, min_version: TLS13, max_version: TLS12}",
            "tls_server_config: min_version is above max_version",
        ),
        (
            'http_server_config: {headers: {Content-Security-Policy: "a\\nb"}}',
            "http_server_config.headers.Content-Security-Policy: must be printable ASCII",
        ),
        ('basic_auth_users: {"": "' + HASH + '"}', "basic_auth_users.: a user name must not be empty"),
        ("basic_auth_users: {alice: secret}", "basic_auth_users.alice: is no bcrypt hash"),
    ],
)
def test_a_fault_says_what_is_wrong(folder: Path, text: str, fault: str) -> None:
    """Each broken rule of the file has an error of its own."""
    (line,) = faults(folder, text)
    assert line.startswith(fault)


@pytest.mark.parametrize(
    "text", ["basic_auth_users: {alice: canary, [", "a: b: canary", "\tcanary", "basic_auth_users: {alice: canary}"]
)
def test_no_fault_repeats_a_secret(folder: Path, text: str) -> None:
    """A fault names the place, never the value, not even where the file is no YAML."""
    assert "canary" not in "".join(faults(folder, text))


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """A missing file and one that is no text are reported by name."""
    with pytest.raises(ConfigurationError, match=r"cannot read .*nowhere\.yml: No such file"):
        load_access(tmp_path / "nowhere.yml")
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigurationError, match=r"binary\.yml is no YAML"):
        load_access(tmp_path / "binary.yml")


def test_an_encrypted_key_is_a_fault_and_no_question(folder: Path) -> None:
    """A key with a passphrase is refused instead of reading the passphrase from the terminal."""
    lines = (folder / "a.key").read_text(encoding="ascii").splitlines()
    header = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF", ""]
    encrypted = "\n".join([lines[0], *header, *lines[1:], ""])
    (folder / "a.key").write_text(encrypted, encoding="ascii")
    (line,) = faults(folder, "tls_server_config: {cert_file: a.crt, key_file: a.key}")
    assert line.endswith("the key is encrypted; give one without a passphrase")


@pytest.mark.attack("rewrite")
def test_a_reload_cannot_turn_tls_on_or_off(folder: Path) -> None:
    """An access that differs in whether there is TLS is refused whole: the socket is open already."""
    access = load(folder, "{}")
    with_tls = load(
        folder, f"tls_server_config: {{cert_file: a.crt, key_file: a.key}}\nbasic_auth_users: {{a: {HASH}}}"
    )
    with pytest.raises(ConfigurationError, match="restart"):
        access.adopt(with_tls)
    assert (access.passwords, access.tls) == (None, None)


@pytest.mark.attack("rewrite")
@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "null\n"])
def test_an_empty_file_is_a_fault(folder: Path, text: str) -> None:
    """An empty file, as during a rewrite, never means that every client has access."""
    (line,) = faults(folder, text)
    assert line == f"web.config_file: {folder / 'web.yml'} is empty; write {{}} where it is to set nothing"


TLS = "tls_server_config: {cert_file: a.crt, key_file: a.key"
REQUIRED = f"{TLS}, client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert}}"
OPTIONAL = f"{TLS}, client_ca_file: ca.crt, client_auth_type: VerifyClientCertIfGiven}}"
USERS = f"basic_auth_users: {{alice: {HASH}}}"


@pytest.mark.attack("rewrite")
@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (USERS, "{}", ["basic_auth_users"]),
        (USERS, "basic_auth_users:", ["basic_auth_users"]),
        (USERS, "basic_auth_users: {}", ["basic_auth_users"]),
        (USERS, TLS + "}", ["basic_auth_users", "tls_server_config"]),
        (REQUIRED, TLS + "}", ["tls_server_config.client_auth_type"]),
        (REQUIRED, OPTIONAL, ["tls_server_config.client_auth_type"]),
        (f"{REQUIRED}\n{USERS}", "{}", ["basic_auth_users", "tls_server_config"]),
    ],
)
def test_a_reload_cannot_open_what_is_closed(folder: Path, before: str, after: str, refused: list[str]) -> None:
    """An access without the users or the client certificates of before is refused whole, with a fault for each."""
    access = load(folder, before)
    kept = access.passwords, access.tls
    with pytest.raises(ConfigurationError) as caught:
        access.adopt(load(folder, after))
    assert [fault.path for fault in caught.value.faults] == refused
    assert (access.passwords, access.tls) == kept


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", USERS),
        (USERS, f"basic_auth_users: {{bob: {HASH}}}"),
        (TLS + "}", REQUIRED),
        (OPTIONAL, TLS + "}"),
        (OPTIONAL, REQUIRED),
        (REQUIRED, REQUIRED),
    ],
)
def test_a_reload_may_close_and_exchange(folder: Path, before: str, after: str) -> None:
    """Users and client certificates may be required from a reload on, and users be exchanged."""
    access, other = load(folder, before), load(folder, after)
    access.adopt(other)
    assert (access.passwords is None, access.tls) == (other.passwords is None, other.tls)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)
)


@pytest.mark.attack("bombs")
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: &x [*x]", "is nested too deeply"),
        ("basic_auth_users: &x {alice: *x}", "is nested too deeply"),
        ("[" * 5_000, "is nested too deeply"),
        (BOMB, "holds more than 20,000 values, with all aliases followed"),
        ("#" * 1_000_001, "is longer than 1,000,000 characters"),
        ("? [a]\n: b", "is no YAML: line 1, column 3: a key must be a text"),
    ],
    ids=["itself", "mapping", "deep", "bomb", "long", "key"],
)
def test_yaml_without_an_end_is_one_bounded_fault(folder: Path, text: str, fault: str) -> None:
    """A file that is deep, huge, or refers to itself is one line with key and file, without following it to its end."""
    assert faults(folder, text) == [f"web.config_file: {folder / 'web.yml'}: {fault}"]


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("http_server_config: {headers: {X-XSS-Protection: 1}}", {"X-XSS-Protection": "1"}),
        ("http_server_config: {headers: {X-XSS-Protection: 0}}", {"X-XSS-Protection": "0"}),
        ("http_server_config:\n  http2:\n  headers:\n    X-Frame-Options:\n", {}),
        ("tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n", {}),
        ("http_server_config: {http2: off}", {}),
    ],
)
def test_numbers_and_nulls_are_read_as_by_the_toolkit(folder: Path, text: str, headers: dict[str, str]) -> None:
    """A number is the text that was written, and a key without a value is left out."""
    access = load(folder, text)
    assert (access.headers, access.passwords, access.tls) == (headers, None, None)


def test_a_user_may_be_a_number(folder: Path) -> None:
    """The name of a user is the text that was written; a user without a hash is a fault, not left out."""
    passwords = load(folder, f"basic_auth_users: {{4711: {HASH}, 007: {HASH}}}").passwords
    assert passwords is not None
    assert set(passwords._hashes) == {"4711", "007"}
    assert faults(folder, "basic_auth_users: {alice: }") == ["basic_auth_users.alice: must be a text"]


def test_a_null_in_the_tls_section_is_left_out(folder: Path) -> None:
    """Keys of the TLS section without a value have their defaults."""
    nulls = "client_auth_type: , client_ca_file: , min_version: , max_version: "
    assert load(folder, f"{TLS}, {nulls}}}").tls is not None
