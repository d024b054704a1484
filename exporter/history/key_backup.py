"""The key of the pseudonyms beside the backups: no copy is ever replaced, for each undoes what no other can."""

import os
from pathlib import Path

from exporter.errors import HistoryUnwritable
from exporter.history.locking import write_whole


def back_up_key(key: Path, folder: Path, stamp: str) -> Path:
    """Copy a key unless a copy of it is there; return the copy. Raises HistoryUnwritable."""
    copies = [folder / key.name, *sorted(folder.glob(f"{key.stem}-*{key.suffix}"))]
    try:
        wanted = key.read_bytes()
        for copy in copies:
            if copy.is_file() and copy.read_bytes() == wanted:
                return copy
        copy = folder / (f"{key.stem}-{stamp}{key.suffix}" if os.path.lexists(copies[0]) else key.name)
        write_whole(copy, wanted)
    except OSError as error:
        message = f"{folder / key.name}: {error.strerror}; the history was copied, its key was not"
        raise HistoryUnwritable(message) from None
    return copy
