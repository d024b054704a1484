"""The templates of the pages: each is right, and compiled when it is needed."""

from importlib import resources

import jinja2
import pytest

from exporter.web.templating import environment

TEMPLATES = sorted(path.name for path in (resources.files("exporter.web") / "templates").iterdir())


@pytest.fixture(scope="module")
def pages() -> jinja2.Environment:
    """The environment of all pages."""
    return environment(lambda name: f"/static/{name}")


def test_a_start_compiles_no_template(pages: jinja2.Environment) -> None:
    """A template is compiled for its first page, from the source that was read when the agent started."""
    assert pages.list_templates() == TEMPLATES
    assert not list(environment(str).cache or {})


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_compiles(pages: jinja2.Environment, name: str) -> None:
    """A template that is wrong is found by a test: the agent compiles it for its first page only."""
    assert pages.get_template(name).name == name
