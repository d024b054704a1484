"""The program with all that its commands and the agent import, once for the processes that are forked from it."""

import gc
import importlib
import os
import pkgutil

# As the program does before it imports numpy: a thread that exists would be gone after a fork.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import exporter

# Libraries of exports are large, and may have threads of their own; the program imports them in children.
_SEPARATE = ("exporter.demo", "exporter.exports", "exporter.__main__")

for _module in pkgutil.walk_packages(exporter.__path__, "exporter.", onerror=lambda _: None):
    if not _module.name.startswith(_SEPARATE):
        importlib.import_module(_module.name)
# Forked processes share these pages as long as none of them is written.
gc.collect()
gc.freeze()
