import io

from rich.console import Console

from marquee.lookups import _titles_table
from marquee.titles import Title


def test_a_title_that_looks_like_markup_is_printed_as_it_is() -> None:
    console = Console(file=io.StringIO(), width=200)
    title = Title("[i1]", "[rec] at night", "[film]", "[b]drama[/b]")
    console.print(_titles_table("Best", [(title, 1.0)], "score"))
    row = console.file.getvalue().splitlines()[-2]
    assert row.split() == ["1", "[i1]", "[rec]", "at", "night", "[film]", "[b]drama[/b]", "1.00"]
