"""A Prometheus exporter and alerting agent for Tableau."""

import os
import signal
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tableau-exporter")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0.0.0"

if os.getpid() == 1:
    # As process 1 of a container a signal that nobody handles is lost; nothing has begun yet that has to be ended. The
    # agent replaces this when it starts.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
