"""An agent whose every secret is a canary, and the faults that might make it leak one."""

import json
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import bcrypt
import httpx

from tests.end_to_end.agent_outputs import printed, served, stored
from tests.end_to_end.canaries import FORMS, Canary
from tests.end_to_end.leak_scenarios import NO_PEERS, PUBLISHER, Peers, Secrets
from tests.end_to_end.malformed_input import exchange, malformed, misplaced
from tests.support.agent_process import Agent
from tests.support.soak import LONG
from tests.support.wait import PATIENCE_SECONDS

Place = tuple[str, bytes]

USER = "prometheus"
WEB, PROXY = Canary("web.prometheus"), Canary("proxy")
STORES = tuple(
    map(Canary, ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY"))
)
STORE = {
    "AWS_ACCESS_KEY_ID": "agent",
    "AWS_REGION": "eu-central-1",
    "AWS_ENDPOINT_URL": f"http://{NO_PEERS}",
    "AWS_ALLOW_HTTP": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AZURE_STORAGE_ACCOUNT_NAME": "agent",
}
OF_PEERS = (("check", "--send-test-alert"), ("audit", "--format=json"))
OF_THE_AGENT = (("check",), ("run", "--config.check"), ("healthcheck",), ("history", "verify"))


# The environment has precedence over the file: here the file sets everything of the repository.
NOTHING = {"REPOSITORY__POLL_INTERVAL": "", "REPOSITORY__EXACT_INTERVAL": ""}
COMPANIONS: Mapping[str, Mapping[str, str]] = {
    "rest.token_value": {"token_name": "agent"},
    "rest.connected_app.secret_value": {"client_id": "client", "secret_id": "secret-id", "user": "agent"},
    "alertmanager.basic_auth.password": {"username": "exporter"},
    "exports.publish.token_value": {"project": "default", "name": "requests", "token_name": PUBLISHER},
}
"""Other keys that a section needs."""


def exports() -> Iterator[Sequence[str]]:
    """Yield commands that export to an unwritable target, with a secret in the address."""
    secret = FORMS["percent"](PROXY.value)
    for target in (
        f"s3://KEY:{secret}@bucket/table",
        f"az://container/table?sv=2025&sig={secret}",
        f"s3://KEY:{PROXY.value}@bucket/table",
        f"http://agent:{secret}@{NO_PEERS}/table#{secret}",
    ):
        yield "history", "export", "--format=delta", "--table=freshness_audit", "--output", target


@dataclass(frozen=True)
class Variant:
    """One way to configure the secrets: which of them, where they stand, and in which form the log is."""

    keys: tuple[str, ...]
    in_files: bool
    log: str

    @property
    def canaries(self) -> dict[str, Canary]:
        """The secrets of the configuration by their keys."""
        return {key: Canary(key) for key in self.keys}

    @property
    def secrets(self) -> Secrets:
        """The same by their receivers."""
        repository, rest, alertmanager, *_ = self.canaries.values()
        return Secrets(repository, rest, alertmanager, PROXY)


VARIANTS = {
    "tokens": Variant(
        (
            "repository.password",
            "rest.token_value",
            "alertmanager.basic_auth.password",
            "exports.publish.token_value",
            "activity_log.token_value",
        ),
        in_files=False,
        log="logfmt",
    ),
    "files": Variant(
        (
            "repository.password",
            "rest.connected_app.secret_value",
            "alertmanager.bearer_token",
            "exports.publish.token_value",
            "activity_log.token_value",
        ),
        in_files=True,
        log="json",
    ),
}


class CanaryAgent:
    """The agent among some peers; it may be run once."""

    def __init__(self, folder: Path, variant: Variant, peers: Peers) -> None:
        self._variant = variant
        self._peers = peers
        self._files = folder / "secrets"
        self._home = folder / "home"
        for made in (self._files, self._home):
            made.mkdir()
        self.config = folder / "tableau-exporter.yml"
        self._web = folder / "web.yml"
        self._hashed = bcrypt.hashpw(WEB.value.encode(), bcrypt.gensalt(4)).decode()
        self._web.write_text(json.dumps({"basic_auth_users": {USER: self._hashed}}))
        self._document = self._configured()
        self.config.write_text(json.dumps(self._document))
        self.agent = Agent(self._home, None, **NOTHING)
        self.agent.module = "tests.support.fast_alerts"
        self.agent.user = (USER, WEB.value)
        self.agent.environment |= peers.proxies | {one.name: one.value for one in STORES} | STORE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.agent.__exit__()

    def among_peers(self, *commands: Sequence[str]) -> Iterator[Place]:
        """Run the agent among its peers; yield each output, with its content.

        Commands that do not connect to the peers are run too.
        """
        agent = self.agent.start("--config.file", str(self.config))
        agent.until(self._tried, "every source was tried, and everybody has quoted")
        if self._peers.forgets_files:
            for path in self._files.iterdir():
                path.unlink()
            agent.until(lambda: "_file: cannot be read" in agent.logged(), "the secrets are missed")
        yield from served(agent)
        yield from self._all_printed(*OF_PEERS, *commands)
        for received in self._peers.notifications():
            yield "a notification", received.body
        agent.kill()  # a write-ahead log, if there is one, is searched too
        yield from stored(agent)

    def with_faults(self) -> Iterator[Place]:
        """Send invalid requests to the running agent, and invalid files to it and the commands; yield as above."""
        agent = self.agent.start("--config.file", str(self.config))
        commands = (("run",), ("check",))
        for number, request in enumerate(malformed(USER, WEB.value)):
            yield f"the answer to malformed request {number}", exchange(httpx.URL(agent.url), request)
        yield from self._all_printed(*OF_THE_AGENT)
        for number, (config, web) in enumerate(self._faulty()):
            self.config.write_text(config)
            self._web.write_text(web)
            yield f"the answer to reload {number}", self._reloaded()
            yield f"/ after reload {number}", httpx.get(agent.url, auth=agent.user, timeout=PATIENCE_SECONDS).content
            # In a short run each faulty file meets one of the commands, in turn.
            yield from self._all_printed(*(commands if LONG else [commands[number % 2]]))
        agent.kill()
        yield from stored(agent)

    def leaks(self, places: Iterable[Place]) -> dict[str, list[str]]:
        """Return by output the canaries that are found there, and those derived from them."""
        canaries = [*self._variant.canaries.values(), WEB, PROXY, *STORES]
        found: dict[str, list[str]] = {}
        for place, content in places:
            names = [one.name for one in canaries if one.is_in(content)]
            # Those that the simulated companies have in columns that are never read.
            texts = {*self._peers.issued(), self._hashed[7:29], self._hashed[29:], "CANARY"}
            names += [text for text in texts if text.encode() in content]
            if names:
                found[place] = names
        return found

    def _all_printed(self, *commands: Sequence[str]) -> Iterator[Place]:
        with ThreadPoolExecutor() as pool:
            runs = [(command, pool.submit(self._printed, *command)) for command in commands]
        for command, run in runs:
            yield " ".join(command[:3]), run.result()

    def _tried(self) -> bool:
        url = f"{self.agent.url}/-/ready"
        ready = httpx.get(url, auth=self.agent.user, timeout=PATIENCE_SECONDS, verify=False)  # over HTTP: load no CA
        return ready.status_code == httpx.codes.OK and self._peers.received()

    def _printed(self, *arguments: str) -> bytes:
        return printed(self.agent, *arguments, "--config.file", str(self.config))

    def _configured(self) -> dict[str, Any]:
        """Return the configuration without its secrets."""
        peers = self._peers
        every = {"poll_interval": "1s"}
        document: dict[str, Any] = {
            "repository": {"hosts": [peers.repository], "sslmode": peers.sslmode, "database": peers.database, **every},
            "rest": {"url": peers.rest, "timeout": "5s", **every},
            "activity_log": {"url": peers.rest, "timeout": "5s", **every},
            "alertmanager": {"urls": [peers.alertmanager], "timeout": "5s"},
            "web": {"config_file": str(self._web)},
            "exports": [
                {"format": "hyper", "table": "poll_log", "output": str(self._home), "every": "1h", "publish": {}}
            ],
            "log": {"level": "debug", "format": self._variant.log},
        }
        for key, canary in self._variant.canaries.items():
            *path, name = key.split(".")
            section = document
            for part in path:
                # Of lists the one entry.
                section = section[part][0] if part == "exports" else section.setdefault(part, {})
            section |= COMPANIONS.get(key, {})
            if self._variant.in_files:
                file = self._files / key
                file.write_text(canary.value)
                section[f"{name}_file"] = str(file)
            else:
                section[name] = canary.value
        return document

    def _faulty(self) -> Iterator[tuple[str, str]]:
        """Yield pairs of the two configuration files, at least one of which is faulty right beside a secret."""
        document, web = json.dumps(self._document), self._web.read_text()
        values = {key: canary.value for key, canary in self._variant.canaries.items()}
        yield json.dumps({**self._document, **misplaced(values)}), web
        yield f"{document[:-1]}, {json.dumps(list(values.values()))}: [", web
        yield document, json.dumps({"basic_auth_users": {USER: WEB.value}})
        yield document, f"{web[:-1]}, {json.dumps(WEB.value)}: {{{{"
        yield document, json.dumps({"basic_auth_users": {USER: [self._hashed]}, "basic_auth_user": WEB.value})

    def _reloaded(self) -> bytes:
        """Reload by SIGHUP and over HTTP, each of which is refused; return the answer."""
        agent = self.agent
        before = agent.logged().count("was not reloaded")
        agent.process.send_signal(signal.SIGHUP)
        agent.until(lambda: agent.logged().count("was not reloaded") > before, "the reload was refused")
        answer = httpx.post(f"{agent.url}/-/reload", auth=agent.user, timeout=PATIENCE_SECONDS)
        assert answer.status_code == httpx.codes.BAD_REQUEST
        return answer.content
