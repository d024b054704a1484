"""Releases memory that a poll or a rendering needed for a moment."""

import ctypes

import pyarrow as pa


def release_memory() -> None:
    """Have the C library, where it can, and Arrow return unused memory to the operating system."""
    # Long-lived allocations often lie above freed ones: by itself the C library would return nothing.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    pa.default_memory_pool().release_unused()
