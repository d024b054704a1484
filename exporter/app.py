"""The agent: threads for the pollers, notifier, exports and renderer; SIGHUP reloads, SIGTERM and SIGINT stop it."""

import os
import queue
import random
import resource
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

import structlog

from exporter import __version__, collectors, component_options, logs
from exporter.alerting.evaluator import EvaluationOptions
from exporter.config import Configuration, Endpoint, RunOptions, sections
from exporter.errors import ConfigurationError
from exporter.export_schedule import Exports, jobs
from exporter.exposition import Exposition, Renderer
from exporter.exposition.process import release_memory
from exporter.exposition.series_limit import SeriesLimits
from exporter.exposition.state_store import CERTIFICATE, NOTIFICATIONS, TimedBlocks
from exporter.freshness import sla_lookup
from exporter.history.place import log_place
from exporter.pagedata.builder import PageData, PageDataBuilder, enabled_pages
from exporter.poller.watchdog import Watchdog
from exporter.status import ExportStatus, Status
from exporter.web.activation import inherited_sockets
from exporter.web.application import application
from exporter.web.server import WebServer
from exporter.web.tls import CertificateExpiry
from exporter.wiring import build_state, build_workers, refuse_restart

RENDER_SECONDS = 10.0
SIGNAL_SECONDS = 0.5

log = structlog.get_logger()


def run(options: RunOptions, evaluation: EvaluationOptions | None = None) -> int:
    """Run the agent until SIGTERM or SIGINT; SIGHUP reloads. Raises ExporterError when it cannot start."""
    configuration = options.load(collectors.discover())
    redactor = logs.configure(configuration.log.level, configuration.log.format)
    # The history names users and the views they opened: files of this process are for its owner and group,
    # or for fewer where the umask that it was started with forbids more.
    os.umask(os.umask(0o077) | 0o027)
    _raise_limit_of_files()
    agent = Agent(options, configuration, redactor, evaluation)
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    handled: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def note(number: int, _frame: FrameType | None) -> None:
        signals.put(number)

    for number in handled:
        signal.signal(number, note)
    agent.start()
    try:
        while (number := _next(signals)) == signal.SIGHUP:
            try:
                agent.reload()
            except ConfigurationError as error:
                for fault in error.faults:
                    log.error("the configuration was not reloaded", fault=str(fault))  # noqa: TRY400 - no defect
            except Exception:
                log.exception("the configuration was not reloaded: unexpected error (bug)")
        log.info("ending", signal=signal.Signals(number).name)
    finally:
        agent.stop()
    return 0


def _raise_limit_of_files() -> None:
    """Allow this process as many open files as its host lets it have: the usual 1,024 are for those who use select."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS has a limit below the hard one
        log.warning("the limit of open files was not raised", limit=soft, error=str(error))


def _next(signals: "queue.SimpleQueue[int]") -> int:
    """Wait for a signal. One that reaches another thread does not wake this one, so it wakes by itself."""
    while True:
        try:
            return signals.get(timeout=SIGNAL_SECONDS)
        except queue.Empty:
            continue


class Agent:
    """The running agent; it is also what the web server serves."""

    def __init__(
        self,
        options: RunOptions,
        configuration: Configuration,
        redactor: logs.Redactor,
        evaluation: EvaluationOptions | None = None,
        configure_logs: logs.Configure = logs.configure,
    ) -> None:
        self._options = options
        self._configure_logs = configure_logs
        self._configuration = configuration
        self._redactor = redactor
        self._randomness = random.Random()  # noqa: S311 - jitter, not a secret
        self._rendering = Exposition()
        self._pages = PageData()
        self._ready = False
        self._changed = threading.Event()
        self._ended = threading.Event()
        self._reloading = threading.Lock()
        self._state = build_state(configuration, self._changed.set, evaluation or EvaluationOptions())
        self._store, self._ending = self._state.store, self._state.ending
        self._renderer = Renderer(collectors=collectors.declared_by())
        self._page_builder = PageDataBuilder(
            self._state.answers, self._store.firing, self._state.assets.rows_and_blocks
        )
        self._watchdog = Watchdog(self._store.status.progress, on_change=self._changed.set)
        self._exports = Exports(self._publish_exports)
        self._access = component_options.access(configuration)
        self._store.set_state(CERTIFICATE, CertificateExpiry(self._access))
        self._web = self._web_server(configuration.web)
        self._workers = build_workers(configuration, self._state)
        self._apply(configuration)
        self._threads = (
            *(
                threading.Thread(target=self._poll_forever, args=(source,), name=f"{source} poller")
                for source in self._workers.pollers
            ),
            threading.Thread(target=self._notify_forever, name="notifier"),
            threading.Thread(target=self._exports.run, args=(self._store.status.first_polls_done,), name="exports"),
            threading.Thread(target=self._render_forever, name="renderer", daemon=True),
        )

    def _web_server(self, settings: sections.Web) -> WebServer:
        served = application(
            self, self._access, telemetry_path=settings.telemetry_path, route_prefix=settings.route_prefix
        )
        (host, port), *further = [(address.host, address.port) for address in settings.listen_addresses]
        sockets = inherited_sockets(os.environ) if settings.systemd_socket else ()
        return WebServer(served, host, port, self._access, further=further, sockets=sockets)

    @property
    def port(self) -> int:
        """The port that the web server listens on."""
        return self._web.port

    def start(self) -> None:
        """Listen first, then poll: a repository that is down must not keep the agent from serving its status."""
        self._workers.context.history.lock()
        log_place(self._configuration.history.path)
        self._render()
        self._web.start()
        for host, port in self._web.addresses:
            log.info("listening", address=str(Endpoint(host, port)), port=port, version=__version__)
        for thread in self._threads:
            thread.start()
        # Until the last poll has ended: it may be stuck as well.
        threading.Thread(target=self._watchdog.run, args=(self._ended,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Finish the poll that runs, read exactly once more, end the export that runs, close the file, and end."""
        self._ending.set()
        self._exports.stop()
        self._workers.context.stopped.set()
        self._changed.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._ended.set()
        self._web.stop()
        self._state.file.unlock()
        log.info("ended")

    def exposition(self) -> Exposition:
        """Return the bytes of /metrics as they were rendered last."""
        return self._rendering

    def collectors(self) -> Mapping[str, bool]:
        """Return every collector by its name, and whether it is enabled."""
        return {name: name in self._workers.context.collectors for name in self._state.known}

    def ready(self) -> bool:
        """Whether the first poll of every source has ended, and what is served was made after that."""
        return self._ready

    def status(self) -> Status:
        """Return the content of the status page."""
        return self._store.summary(time.time(), str(self._options.config_file))

    def pages(self) -> PageData:
        """Return the data of the other pages, as it was built last."""
        return self._pages

    def reload(self) -> None:
        """Load the configuration anew, all of it or nothing. Raises ConfigurationError."""
        with self._reloading:
            try:
                configuration = self._options.load(self._state.known)
                refuse_restart(self._configuration, configuration)
                access = component_options.access(configuration)
                workers = build_workers(configuration, self._state)
                self._access.adopt(access)
            except ConfigurationError as error:
                self._store.status.set_reload(time.time(), str(error))
                self._changed.set()
                raise
            self._redactor = self._configure_logs(configuration.log.level, configuration.log.format)
            old, self._configuration = self._configuration, configuration
            before, self._workers = self._workers, workers
            self._apply(configuration)
            before.context.stopped.set()
            sites = {(rest.url, rest.sites) for rest in (old.rest, configuration.rest) if rest}
            if len(sites) > 1:
                for merged in self._state.merged_states.values():
                    merged.forget("rest")
            self._retain()
            self._store.status.set_reload(time.time(), None)
            self._changed.set()
            log.info("the configuration was reloaded")

    def _apply(self, configuration: Configuration) -> None:
        """Apply what needs no new workers: secrets to redact, limits, exports, SLAs of assets that are published."""
        for secret in configuration.secrets():
            self._redactor.hide(secret)
        for warning in configuration.warnings:
            log.warning("configuration", warning=warning)
        self._state.file.limits = component_options.history_limits(configuration)
        self._renderer.limits = SeriesLimits(configuration.limits.series_per_family, configuration.limits.series)
        self._watchdog.limits = component_options.stuck_after(configuration)
        freshness = configuration.freshness
        for merged in self._state.merged_states.values():
            merged.set_sla(sla_lookup(freshness.sla_rules()), freshness.schedule_grace)
        self._exports.replace(jobs(configuration), configuration.secrets())

    def _publish_exports(self, exports: Sequence[ExportStatus]) -> None:
        self._store.status.set_exports(exports)
        self._changed.set()

    def _retain(self) -> None:
        """Drop what was published of collectors that are disabled now."""
        enabled = self._workers.context.collectors
        self._store.retain(enabled)
        self._state.answers.retain(enabled)

    def _poll_forever(self, source: str) -> None:
        while not self._ending.is_set():
            self._workers.pollers[source].run(self._randomness)
            # What its last poll published of a collector that a reload has disabled meanwhile.
            self._retain()

    def _notify_forever(self) -> None:
        while not self._ending.is_set():
            workers = self._workers
            if workers.rule_manager is not None:
                workers.rule_manager.run(workers.context.stopped, self._state.evaluation.interval_seconds)
            else:
                self._store.set_state(NOTIFICATIONS, TimedBlocks((), time.time()))
                self._store.set_firing(None)
                workers.context.stopped.wait()

    def _render_forever(self) -> None:
        while not self._ending.is_set():
            self._changed.wait(RENDER_SECONDS)
            self._changed.clear()
            try:
                self._render()
            except Exception:
                log.exception("rendering failed: unexpected error (bug); the last rendering is still served")

    def _render(self) -> None:
        now, ready = time.time(), self._store.status.first_polls_done()
        blocks = list(self._store.blocks(now))
        self._rendering = self._renderer.render(blocks, now)
        self._ready = ready
        enabled = enabled_pages(self._workers.context.collectors)
        tableau_url = self._configuration.tableau_url
        timezone = self._configuration.freshness.timezone
        self._pages = self._page_builder.build(now, enabled, blocks, tableau_url, timezone)
        release_memory()
