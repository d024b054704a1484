"""The checks of ``tableau-exporter check``: every fault that one pass can find, each with its fix."""

import os
import shutil
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exporter import collectors, component_options, exports
from exporter.alerting.notification import Notification, bounded_annotations, bounded_labels
from exporter.collector import Collector
from exporter.config import Configuration, RunOptions, sections
from exporter.errors import ConfigurationError, ExporterError, Fault, NotificationFailed
from exporter.export_schedule import ExportJob, jobs
from exporter.history.file import FREE_BYTES_NEEDED
from exporter.history.place import MOUNTINFO, UNRELIABLE, linked_to, network_file_system
from exporter.output import is_database

if TYPE_CHECKING:
    from exporter.alerting.alertmanager import Alertmanager

TEST_ALERT_SECONDS = 60.0


@dataclass(frozen=True)
class Finding:
    """One finding; ``ok`` is None for a note."""

    ok: bool | None
    subject: str
    message: str


def check(options: RunOptions, *, send_test_alert: bool = False, mountinfo: Path = MOUNTINFO) -> Iterator[Finding]:
    """Check the configuration, the sources, the Alertmanagers, the history file and the exports; nothing is changed.

    On request each Alertmanager is sent a test alert.
    """
    try:
        configuration = options.load(collectors.discover())
    except ConfigurationError as error:
        for fault in error.faults:
            yield Finding(ok=False, subject="configuration", message=str(fault))
        return
    yield Finding(ok=True, subject="configuration", message="valid")
    for warning in configuration.warnings:
        yield Finding(ok=None, subject="configuration", message=warning)
    for fault in (*_certificates(configuration), *_access(configuration)):
        yield Finding(ok=False, subject=fault.path, message=fault.message)
    if configuration.web.config_file is not None and not _access(configuration):
        yield Finding(ok=True, subject="web.config_file", message="valid")
    if configuration.repository is not None:
        enabled = component_options.enabled(configuration, collectors.discover())
        yield from _repository(configuration.repository, enabled)
    if configuration.rest is not None:
        yield from _rest(configuration.rest)
    if configuration.activity_log is not None:
        yield from _activity_log(configuration, configuration.activity_log)
    yield from _alertmanagers(configuration.alertmanager, send_test_alert=send_test_alert)
    yield from _history(configuration.history.path, mountinfo)
    for job in jobs(configuration):
        yield _export(job)


def file_faults(configuration: Configuration) -> list[Fault]:
    """Validate the files that a configuration names: certificates, the web configuration, the history."""
    faults = [*_certificates(configuration), *_access(configuration)]
    if reason := _no_history(configuration.history.path):
        faults.append(Fault("history.path", reason))
    return faults


def _access(configuration: Configuration) -> Sequence[Fault]:
    try:
        component_options.access(configuration)
    except ConfigurationError as error:
        return error.faults
    return ()


def _certificates(configuration: Configuration) -> Iterator[Fault]:
    """Load each file of certificates as the connection that uses it will."""
    for key, path in _authorities(configuration):
        try:
            if path:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError:
            yield Fault(key, f"{path}: holds no certificate that can be used: give PEM certificates")
    for key, certificate, private in _pairs(configuration):
        try:
            if certificate:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, private, password="")
        except OSError:
            files = " and ".join(str(file) for file in (certificate, private) if file)
            yield Fault(key, f"{files}: no certificate with its key: give both in PEM, the key without a passphrase")


def _authorities(configuration: Configuration) -> Iterator[tuple[str, Path | None]]:
    if repository := configuration.repository:
        system = str(repository.sslrootcert) == sections.SYSTEM_CERTIFICATES
        yield "repository.sslrootcert", None if system else repository.sslrootcert
    if rest := configuration.rest:
        yield "rest.ca_file", rest.ca_file
    if activity_log := configuration.activity_log:
        yield "activity_log.ca_file", activity_log.ca_file
    if alertmanager := configuration.alertmanager:
        yield "alertmanager.tls.ca_file", alertmanager.tls.ca_file


def _pairs(configuration: Configuration) -> Iterator[tuple[str, Path | None, Path | None]]:
    if repository := configuration.repository:
        # Without sslkey libpq reads its default key.
        yield "repository.sslcert", repository.sslkey and repository.sslcert, repository.sslkey
    if alertmanager := configuration.alertmanager:
        yield "alertmanager.tls.cert_file", alertmanager.tls.cert_file, alertmanager.tls.key_file


def _repository(settings: sections.Repository, enabled: Mapping[str, Collector]) -> Iterator[Finding]:
    from exporter.repository.client import RepositoryClient
    from exporter.repository.probe import probe

    relations = {relation.name for collector in enabled.values() for relation in collector.relations}
    try:
        with RepositoryClient(component_options.repository_options(settings)).session() as session:
            answer = f"PostgreSQL {session.server_version} answers"
            yield Finding(ok=True, subject=f"repository {session.address}", message=answer)
            session.load_catalog(relations)
            for name, collector in enabled.items():
                if collector.from_repository:
                    ok, message = probe(session, collector, settings.user)
                    yield Finding(ok=ok, subject=f"collector {name}", message=message)
    except ExporterError as error:
        yield Finding(ok=False, subject="repository", message=str(error).removeprefix("repository "))


def _rest(settings: sections.Rest) -> Iterator[Finding]:
    from exporter.rest.client import RestClient

    rest = RestClient(component_options.rest_options(settings))
    try:
        for ok, message in rest.probe():
            yield Finding(ok=ok, subject=f"rest {rest.address}", message=message)
        for ok, message in rest.probe_insights() if settings.admin_insights else ():
            yield Finding(ok=ok, subject=f"rest {rest.address}", message=message)
        if settings.system_info:
            processes = rest.system_info().processes
            nodes = len({process.node for process in processes})
            message = f"systeminfo.xml lists {len(processes)} processes of {nodes} nodes"
            yield Finding(ok=True, subject=f"rest {rest.address}", message=message)
    except ExporterError as error:
        yield Finding(ok=False, subject="rest", message=str(error).removeprefix("rest "))
    finally:
        rest.close()


def _activity_log(configuration: Configuration, settings: sections.ActivityLog) -> Iterator[Finding]:
    from exporter.activity_log.client import ActivityLogClient
    from exporter.activity_log.probe import probe

    client = ActivityLogClient(component_options.activity_log_options(configuration, settings))
    try:
        for ok, message in probe(client):
            yield Finding(ok=ok, subject=f"activity_log {client.address}", message=message)
    except ExporterError as error:
        yield Finding(ok=False, subject="activity_log", message=str(error).removeprefix("activity_log "))
    finally:
        client.close()


def _alertmanagers(settings: sections.Alertmanager | None, *, send_test_alert: bool) -> Iterator[Finding]:
    if send_test_alert and settings is None:
        message = "none is configured, no test alert was sent; set alertmanager.urls"
        yield Finding(ok=False, subject="alertmanager", message=message)
    if settings is None:
        return
    from exporter.alerting.alertmanager import Alertmanager

    for options in component_options.alertmanager_options(settings):
        subject = f"alertmanager {options.url}"
        try:
            for message in _answers(Alertmanager(options), send_test_alert=send_test_alert):
                yield Finding(ok=True, subject=subject, message=message)
        except NotificationFailed as error:
            yield Finding(ok=False, subject=subject, message=str(error).removeprefix(f"{subject}: "))


def _answers(alertmanager: "Alertmanager", *, send_test_alert: bool) -> Iterator[str]:
    """Yield the answers of an Alertmanager. Raises NotificationFailed."""
    yield f"Alertmanager {alertmanager.version()} answers"
    if send_test_alert:
        sent = alertmanager.send([_test_alert(time.time())])
        if sent.failure:
            raise NotificationFailed(sent.failure)
        for _, reason in sent.refused:
            raise NotificationFailed(f"refuses the test alert: {reason}")
        yield "accepted the test alert TableauTestAlert, which resolves by itself in a minute"


def _test_alert(now: float) -> Notification:
    annotations = {
        "summary": "This is a test of tableau-exporter.",
        "description": "Somebody called tableau-exporter check --send-test-alert. Nothing is wrong, nothing has to be"
        " done; this alert ends by itself within a minute.",
    }
    labels = bounded_labels({"alertname": "TableauTestAlert", "severity": "info"})
    return Notification(labels, bounded_annotations(annotations), now, now + TEST_ALERT_SECONDS)


def _export(job: ExportJob) -> Finding:
    """Load the library of a format, and check a local output; an object store is not contacted."""
    from exporter.exports.stores import local_path

    subject = f"export {job.order.format} of {', '.join(job.tables)} to {job.destination}"
    try:
        exports.load(job.order.format)
        path = local_path(job.order.target)
    except ExporterError as error:
        return Finding(ok=False, subject=subject, message=str(error))
    if path is None:
        return Finding(ok=True, subject=subject, message="its library is installed; the store itself is not checked")
    if job.order.format == "text" and not path.is_dir():
        return Finding(ok=False, subject=subject, message=f"{path}: no such folder; make it")
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not os.access(there, os.W_OK):
        return Finding(ok=False, subject=subject, message=f"{there}: not writable for this user; change its owner")
    return Finding(ok=True, subject=subject, message=f"{there}: is writable")


def _no_history(path: Path) -> str | None:
    """Return why a file that is there cannot be the history; one that may not be read is another's fault."""
    try:
        if not path.exists() or is_database(path):
            return None
    except OSError:
        return None
    return f"{path}: is no history: DuckDB did not write it; name another file in history.path, or move it away"


def _place(path: Path, mountinfo: Path) -> Iterator[str]:
    """Return a finding with the real path of the history, where its path is a link."""
    if real := linked_to(path):
        yield f"{path}: a link leads to {real}, where the lock and the log of the file are too"
    if kind := network_file_system(path, mountinfo):
        yield f"{path}: is on a network file system ({kind}): {UNRELIABLE}"


def _history(path: Path, mountinfo: Path) -> Iterator[Finding]:
    for note in _place(path, mountinfo):
        yield Finding(ok=None, subject="history", message=note)
    folder = path.parent
    if not folder.is_dir():
        yield Finding(ok=False, subject="history", message=f"{folder}: no such folder; make it, or set history.path")
        return
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        yield Finding(ok=False, subject="history", message=f"{path}: not writable for this user; change its owner")
        return
    if reason := _no_history(path):
        yield Finding(ok=False, subject="history.path", message=reason)
        return
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_NEEDED:
        yield Finding(ok=False, subject="history", message=f"{folder}: only {free // 1_000_000} MB free")
        return
    size = f"{path.stat().st_size / 1e6:.1f} MB" if path.exists() else "will be made"
    yield Finding(ok=True, subject="history", message=f"{path}: {size}, {free / 1e9:.1f} GB free")
