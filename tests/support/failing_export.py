"""An export process in which something goes wrong, chosen by the name of the table."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from exporter import export_process, maintenance
from exporter.history.file import HistoryFile
from exporter.history.verification import Verdict
from exporter.maintenance import Exported, ExportRequest


def export_from(_file: HistoryFile, request: ExportRequest) -> Iterator[Verdict]:
    """Hang, die or raise; a target has a file ``released`` once its lock is released."""
    request.progress(1, 2)
    (target,) = request.targets
    if request.table == "is deaf":
        Path(target, "begun").write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
    if request.table == "hangs":
        try:
            Path(target, "begun").touch()
            time.sleep(600)
        finally:
            Path(target, "released").touch()
    if request.table == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if request.table == "stumbles":
        message = "s3://me:hunter2@lake/x"
        raise ZeroDivisionError(message)
    names = sorted(name for name in os.environ if name.startswith(("TABLEAU_EXPORTER_", "AWS_")))
    yield Exported(ok=True, subject="environment", message=" ".join(names), rows=3)


if __name__ == "__main__":
    setattr(maintenance, "export_from", export_from)  # noqa: B010 - a name that it imports
    try:
        code = export_process.main(sys.stdin.buffer, sys.stdout.buffer)
    except KeyboardInterrupt:
        code = 1
    os._exit(code)
