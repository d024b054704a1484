"""Memory that a poll or a rendering of many assets needed for a moment is given back to the machine: we are guests."""

import ctypes

import pyarrow as pa


def give_back() -> None:
    """Have the C library, where it can, and Arrow let go of what they keep for later."""
    # What lives long often lies above what is gone: by itself the C library would give nothing back.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    pa.default_memory_pool().release_unused()
