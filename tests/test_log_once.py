"""One outage is news once for each kind of error."""

from exporter.errors import SourceRefused, SourceUnreachable
from exporter.log_once import Outage


def test_an_outage_is_news_once_for_each_kind_of_error() -> None:
    """Another text is no news, another kind is, and one that was there before is not."""
    outage = Outage()
    failures = [
        SourceUnreachable("shutting down"),
        SourceUnreachable("refused"),
        SourceRefused("password"),
        SourceUnreachable("silent"),
        SourceRefused("rights"),
    ]
    assert [outage.is_new(failure) for failure in failures] == [True, False, True, False, False]


def test_an_outage_ends_once() -> None:
    """A success ends it, the next ends nothing, and the same failure is news again."""
    outage = Outage()
    assert not outage.is_over()
    outage.is_new(SourceUnreachable("refused"))
    assert [outage.is_over(), outage.is_over()] == [True, False]
    assert outage.is_new(SourceUnreachable("refused"))


def test_an_outage_of_several_ends_with_the_last() -> None:
    """Of those that met it, none that works ends it for the others, nor makes their failure news."""
    outage = Outage()
    assert outage.is_new(SourceUnreachable("refused"), "one")
    assert not outage.is_new(SourceUnreachable("refused"), "other")
    assert not outage.is_over("one")
    assert not outage.is_over("a third that never failed")
    assert not outage.is_new(SourceUnreachable("refused"), "one")
    assert [outage.is_over("other"), outage.is_over("one")] == [False, True]
