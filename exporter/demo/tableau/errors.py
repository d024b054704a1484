"""Errors of the server, with Tableau's own codes and messages."""

from exporter.demo.tableau import xml_writer


class Refusal(Exception):
    """An answer that is an error: the HTTP status and Tableau's code, summary and detail."""

    def __init__(self, code: str, summary: str, detail: str) -> None:
        super().__init__(f"{code}: {summary}: {detail}")
        self.status = int(code[:3])
        self.code = code
        self.summary = summary
        self.detail = detail

    @property
    def body(self) -> bytes:
        """The answer in XML."""
        inside = xml_writer.element("summary", {}, xml_writer.text(self.summary)) + xml_writer.element(
            "detail", {}, xml_writer.text(self.detail)
        )
        return xml_writer.document(xml_writer.element("error", {"code": self.code}, inside))


def bad_credentials() -> Refusal:
    """Refuse a sign-in."""
    return Refusal("401001", "Signin Error", "Error signing in to Tableau Server")


def no_credentials() -> Refusal:
    """Refuse a call without a session."""
    return Refusal("401000", "Unauthorized Access", "No authentication credentials were provided.")


def session_ended() -> Refusal:
    """Refuse a call with a session that is no more."""
    return Refusal("401002", "Unauthorized Access", "Invalid authentication credentials were provided.")


def forbidden(what: str) -> Refusal:
    """Refuse content that a user may not see."""
    return Refusal("403004", "Forbidden", f"The user may not {what}.")


def unsupported_on_cloud(what: str) -> Refusal:
    """Refuse what only Tableau Server has; the code and the words are those of its list of sites."""
    return Refusal("403069", "Forbidden", f"{what} is unsupported for Tableau Cloud.")


def not_found(what: str) -> Refusal:
    """Return 404 for an unknown resource."""
    return Refusal("404000", "Resource Not Found", f"{what} could not be found.")


def no_project(luid: str | None) -> Refusal:
    """Return the error for an unknown project to publish to."""
    return Refusal("404005", "Resource Not Found", f"Project '{luid}' could not be found.")


def no_upload() -> Refusal:
    """Return the error for an unknown upload session."""
    return Refusal("404009", "Resource Not Found", "The file upload could not be found.")


def not_published(file: str) -> Refusal:
    """Return the error for a file that is no data source."""
    return Refusal("400011", "Bad Request", f"There was a problem publishing the file '{file}'.")


def conflict(name: str) -> Refusal:
    """Return the error for a data source that exists and is not to be overwritten."""
    return Refusal("409006", "Resource Conflict", f"A data source '{name}' already exists.")


def unknown_version(version: str) -> Refusal:
    """Return the error for an unsupported version of the API."""
    return Refusal("404001", "Resource Not Found", f"The API version {version} is not supported by this server.")


def throttled() -> Refusal:
    """Return 429, too many requests."""
    return Refusal("429000", "Too Many Requests", "The rate limit was exceeded. Try again later.")
