"""The mapping that the page on own data shows is one."""

import re
import tomllib

from tests.docs.commands import ROOT
from training.events.mapping_file import mapping_from
from training.schema import ActionRole


def test_the_mapping_that_the_page_shows_is_one() -> None:
    page = (ROOT / "docs" / "own-data.md").read_text()
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)

    mapping = mapping_from(tomllib.loads(text), folder=ROOT)

    assert mapping.schema.actions_with(ActionRole.TARGET) == ("finished",)
    commented = re.findall(r"^# (event_id|received_at) = (.*)", text, re.MULTILINE)
    assert [name for name, _ in commented] == ["event_id", "received_at"]
    restored = re.sub(r"^# (event_id|received_at)", r"\1", text, flags=re.MULTILINE)
    assert mapping_from(tomllib.loads(restored), folder=ROOT).events.event_id == "uuid"
