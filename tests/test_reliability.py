"""The tables of docs/reliability.md: written from runs alone, and true of the tests that they name."""

import re
from pathlib import Path

from tests.support.reliability import ATTACKS, BEGIN, BEGIN_ATTACKS, END, END_ATTACKS, Reliability

ROOT = Path(__file__).parents[1]


def test_a_table_is_written_of_what_was_run_alone(tmp_path: Path) -> None:
    """Tries are added up, those of a test that failed have not held, and the other table stays as it is."""
    document = tmp_path / "reliability.md"
    document.write_text(f"a\n{BEGIN}\nfaults\n{END}\nb\n{BEGIN_ATTACKS}\nold\n{END_ATTACKS}\nc\n")
    reliability = Reliability(document)
    reliability.attack({"guesses"}, "tests/web/test_passwords.py::test_a", 1_000, held=True)
    reliability.attack({"guesses"}, "tests/web/test_passwords.py::test_b", 2, held=False)
    reliability.pytest_sessionfinish()
    text = document.read_text()
    assert text.startswith(f"a\n{BEGIN}\nfaults\n{END}\nb\n{BEGIN_ATTACKS}\n| attack |")
    assert (
        f"| {ATTACKS['guesses']} | 1,002 | 1,000 | `test_passwords.py::test_a`, `test_passwords.py::test_b` |" in text
    )
    assert text.endswith(f"{END_ATTACKS}\nc\n")


def test_the_table_of_attacks_is_true() -> None:
    """Every attack was tried and held each time, by tests that are there."""
    table = (ROOT / "docs" / "reliability.md").read_text().split(BEGIN_ATTACKS)[1].split(END_ATTACKS)[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == list(ATTACKS.values())
    sources = [(path.name, path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    for _, tries, held, tests in rows[1:]:
        assert tries == held != "0"
        for file, test in re.findall(r"`(\w+\.py)::(\w+)`", tests):
            assert any(name == file and f"def {test}(" in text for name, text in sources)
