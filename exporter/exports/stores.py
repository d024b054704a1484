"""Targets of exports: a folder, or an object store. Each file is written whole or not at all.

A store's settings come from the environment variables that its own tools read, never from the configuration.
"""

import contextlib
import fcntl
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyarrow import fs

from exporter.errors import OutputUnwritable
from exporter.exports.arguments import AZURE, GOOGLE, S3, SCHEMES, has_credentials
from exporter.proxies import proxy_for
from exporter.texts import UNSHOWN, one_line, safe_uri, safe_uris

# An export that was killed leaves its lock; one that lives renews it with every slice.
LOCK_SECONDS = 900.0
_LONGEST = 300
_REQUEST_ID = re.compile(r" ?\(Request ID: [^)]*\)")


class Store:
    """A folder or a prefix of a bucket, in which files have relative names."""

    def __init__(self, files: fs.FileSystem, base: str, shown: str, *, is_local: bool) -> None:
        self._files, self._base, self._is_local = files, base.rstrip("/"), is_local
        self.shown = shown
        """How a line names it: without what may be a secret."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none. Raises OutputUnwritable."""
        with self._faults():
            if self._files.get_file_info(self._path(name)).type != fs.FileType.File:
                return None
            with self._files.open_input_stream(self._path(name)) as stream:
                content: bytes = stream.read()
                return content

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a file, in the place of one that is there. Raises OutputUnwritable."""
        with self._faults():
            if self._is_local:
                _write_atomically(Path(self._path(name)), content)
                return
            # One call: what breaks off in between is never published.
            with self._files.open_output_stream(self._path(name)) as stream:
                stream.write(content)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with self._faults(), contextlib.suppress(FileNotFoundError):
            self._files.delete_file(self._path(name))

    def names(self, folder: str = "") -> Iterator[str]:
        """Yield the names of all files, also in folders below. Raises OutputUnwritable."""
        with self._faults():
            chosen = fs.FileSelector(self._path(folder).rstrip("/"), allow_not_found=True, recursive=True)
            found = self._files.get_file_info(chosen)
        for info in found:
            if info.type == fs.FileType.File:
                yield info.path[len(self._base) :].lstrip("/")

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator["Lock"]:
        """Keep other exports away for the block. Raises OutputUnwritable where one is at work."""
        lock = _FolderLock(Path(self._path(name)), self.shown) if self._is_local else _ObjectLock(self, name)
        lock.acquire()
        try:
            yield lock
        finally:
            lock.release()

    def written_at(self, folder: str) -> Mapping[str, datetime]:
        """Return when each file of a folder was last written, by the store's clock."""
        with self._faults():
            found = self._files.get_file_info(fs.FileSelector(self._path(folder), allow_not_found=True))
        return {info.base_name: info.mtime for info in found if info.type == fs.FileType.File}

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise self._refused(error, "no such bucket, container or folder") from None
        except (OSError, ValueError) as error:
            raise self._refused(error, None) from None

    def _refused(self, error: Exception, reason: str | None) -> OutputUnwritable:
        text = reason or _message(error)
        where = "" if self._is_local else "the environment variables of the store, "
        return OutputUnwritable(f"{self.shown}: {text}; check --output, {where}and the rights to write there")


class Lock:
    """What keeps two exports from writing one target."""

    def acquire(self) -> None:
        """Raise OutputUnwritable where another export has it."""

    def renew(self) -> None:
        """Show that this export is alive. Raises OutputUnwritable where the lock was lost."""

    def release(self) -> None:
        """Give it back."""


class _FolderLock(Lock):
    """A lock of the operating system: it ends with its process."""

    def __init__(self, path: Path, shown: str) -> None:
        self._path, self._shown, self._descriptor = path, shown, -1

    def acquire(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise OutputUnwritable(f"{self._shown}: another export writes it; try again") from None
        except OSError as error:
            self.release()
            message = f"{self._shown}: {error.strerror}; check --output and the rights to write there"
            raise OutputUnwritable(message) from None

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _ObjectLock(Lock):
    """An object of one's own, written before the others are listed: of two exports at least one sees the other.

    That needs a store whose lists have what was written before, as those of S3, Azure and Google have.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._folder, self._own = store, name, uuid.uuid4().hex
        self._renewed = 0.0

    def acquire(self) -> None:
        self._write()
        at = self._store.written_at(self._folder)
        now = at.get(self._own, datetime.now(UTC))
        for name, written in at.items():
            if name != self._own and now - written < timedelta(seconds=LOCK_SECONDS):
                self.release()
                message = f"{self._store.shown}: another export writes it, or was killed; try again in 15 minutes"
                raise OutputUnwritable(message)
            if name != self._own:
                self._store.remove(f"{self._folder}/{name}")

    def renew(self) -> None:
        passed = time.monotonic() - self._renewed
        if passed > LOCK_SECONDS / 2 or self._own not in self._store.written_at(self._folder):
            message = f"{self._store.shown}: a write lasted too long, and another export may have begun; try again"
            raise OutputUnwritable(message)
        self._write()

    def release(self) -> None:
        self._store.remove(f"{self._folder}/{self._own}")

    def _write(self) -> None:
        self._store.write(f"{self._folder}/{self._own}", b"{}")
        self._renewed = time.monotonic()


def local_path(target: str) -> Path | None:
    """Return the path of a target that is a local one, None for a store of objects. Raises OutputUnwritable."""
    if "://" not in target:
        return Path(target)
    parts = urlsplit(target) if safe_uri(target) != UNSHOWN else None
    if parts is None or parts.scheme != "file":
        return None
    if parts.netloc not in {"", "localhost"}:
        raise OutputUnwritable(f"{safe_uri(target)}: a file of another host; write file:///folder")
    return Path(unquote(parts.path))


def open_store(target: str, environ: Mapping[str, str] = os.environ) -> Store:
    """Resolve a path or a URI; the store is first accessed when it is read. Raises OutputUnwritable."""
    path, shown = local_path(target), safe_uri(target)
    if path is not None:
        return Store(fs.LocalFileSystem(), str(path.resolve()), shown, is_local=True)
    try:
        files, base = _file_system(target, shown, environ)
    except (OSError, ValueError) as error:
        raise OutputUnwritable(f"{shown}: {_message(error)}; check the environment variables of the store") from None
    return Store(files, base, shown, is_local=False)


def _file_system(target: str, shown: str, environ: Mapping[str, str]) -> tuple[fs.FileSystem, str]:
    if shown == UNSHOWN:
        raise OutputUnwritable(f"--output: {UNSHOWN}: give a folder or a URI such as s3://bucket/folder")
    parts = urlsplit(target)
    base = f"{parts.hostname or ''}{unquote(parts.path)}"
    if has_credentials(target):
        message = f"{shown}: credentials come from the environment variables of the store, not from --output"
        raise OutputUnwritable(message)
    if parts.scheme in S3:
        return _s3(environ), base
    if parts.scheme in AZURE:
        container = parts.username or parts.netloc
        return _azure(parts.hostname if parts.username else None, shown, environ), container + unquote(parts.path)
    if parts.scheme in GOOGLE:
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=60)), base
    raise OutputUnwritable(f"{shown}: unknown scheme; {SCHEMES}")


def _s3(environ: Mapping[str, str]) -> fs.FileSystem:
    """Return S3 as the tools of AWS find it; keys and profiles are read by the library itself."""
    endpoint = _s3_endpoint(environ)
    proxy = proxy_for(endpoint or "https://s3.amazonaws.com")
    return fs.S3FileSystem(
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
        endpoint_override=endpoint,
        proxy_options=proxy.url if proxy else None,
        connect_timeout=10,
        request_timeout=60,
        allow_delayed_open=True,
    )


def _s3_endpoint(environ: Mapping[str, str]) -> str | None:
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")


def deltalake_options(target: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what the library deltalake does not find in the environment: plain http, and no proxy."""
    endpoint = None
    if target.startswith(("s3://", "s3a://")):
        endpoint = _s3_endpoint(environ)
    elif target.startswith(tuple(f"{scheme}://" for scheme in AZURE)):
        endpoint = environ.get("AZURE_STORAGE_ENDPOINT")
    if not endpoint:
        return {}
    options = {"endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
    if proxy_for(endpoint) is None:
        # A proxy that is named keeps the library from the variables, and the exclusion from the proxy.
        options |= {"proxy_url": endpoint, "proxy_excludes": urlsplit(endpoint).hostname or ""}
    return options


def _azure(host: str | None, shown: str, environ: Mapping[str, str]) -> fs.FileSystem:
    """Return Azure's store; without key and token the library's DefaultAzureCredential finds an identity."""
    account = host.partition(".")[0] if host else environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not account:
        raise OutputUnwritable(f"{shown}: set AZURE_STORAGE_ACCOUNT_NAME, or name abfss://container@account.dfs...")
    token = environ.get("AZURE_STORAGE_SAS_TOKEN") or environ.get("AZURE_STORAGE_SAS_KEY")
    key = environ.get("AZURE_STORAGE_ACCOUNT_KEY") or environ.get("AZURE_STORAGE_KEY")
    options: dict[str, str | None] = {"sas_token": token} if token else {"account_key": key}
    endpoint = urlsplit(environ.get("AZURE_STORAGE_ENDPOINT", ""))
    if endpoint.netloc:
        options |= dict.fromkeys(("blob_storage_authority", "dfs_storage_authority"), endpoint.netloc)
        options |= dict.fromkeys(("blob_storage_scheme", "dfs_storage_scheme"), endpoint.scheme)
    return fs.AzureFileSystem(account, **options)


def _message(error: Exception) -> str:
    """Return the message of a library, without the number of a request and the credentials of a URI."""
    text = getattr(error, "strerror", None) or _REQUEST_ID.sub("", one_line(error))
    return safe_uris(text)[:_LONGEST]


def _write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Write a file under a name that no reader lists, and rename it."""
    new = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # What a crash left, or a link that would be written through.
        new.unlink(missing_ok=True)
        with new.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
