"""The page on data quality names every check, under its severity."""

import re

from assets.suites import BLOCKING_CHECKS, WARNING_CHECKS
from tests.docs.commands import ROOT


def test_the_page_has_a_row_for_every_check_under_its_severity() -> None:
    page = (ROOT / "docs" / "data-quality.md").read_text()
    _, blocking, warnings, against = re.split(r"^### ", page, flags=re.MULTILINE)

    def rows(section: str) -> set[str]:
        return set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))

    assert rows(blocking) == set(BLOCKING_CHECKS)
    assert rows(warnings) | rows(against) == set(WARNING_CHECKS)
