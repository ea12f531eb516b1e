import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.events.listening import mapping
from training.errors import ConfigError
from training.events.mapping_file import mapping_from, read_mapping
from training.schema import ActionRole, FacetKind

DRAFT = """
format_version = 1
name = "listening"
[events]
files = "logs"
format = "csv"
user_id = "user"
item_id = "track"
occurred_at = {column = "at", unit = "iso", zone = "Europe/Vienna"}
action = "what"
[[actions]]
name = "play"
role = "target"
values = ["play", "start"]
[catalogue]
kind = "track"
[world]
first_day = 2026-01-02
last_day = "2026-02-03"
"""


def test_a_mapping_names_files_beside_it_and_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(DRAFT)

    read = read_mapping(path)
    again = mapping_from(json.loads(json.dumps(read.document)), folder=Path("/elsewhere"))

    assert read.events.files.paths == (tmp_path / "logs",)
    assert read.actions[0].values == ("play", "start")
    assert (read.world.first_day, read.world.last_day) == (date(2026, 1, 2), date(2026, 2, 3))
    assert (read.world.recipe, read.world.fine_tuned_days) == ("own_log", 3)
    assert again == read
    assert again.document == read.document


def test_the_schema_is_what_the_mapping_says(tmp_path: Path) -> None:
    schema = mapping_from(mapping(tmp_path)).schema

    assert schema.actions_with(ActionRole.TARGET) == ("finished",)
    assert schema.token_actions == ("play", "finished", "skipped")
    assert [facet.kind for facet in schema.facets] == [
        FacetKind.CATEGORICAL,
        FacetKind.DURATION,
        FacetKind.MULTI_CATEGORICAL,
    ]


def test_where_files_lie_and_what_is_taken_does_not_change_how_rows_are_read(
    tmp_path: Path,
) -> None:
    one = mapping_from(mapping(tmp_path, world={"recipe": "tiny"}))
    other = mapping_from(mapping(tmp_path / "moved"))
    renamed = mapping_from(mapping(tmp_path, events__user_id="account"))

    assert one.content() == other.content()
    assert one.content() != renamed.content()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version: want 1, got 2"),
        ({"name": None}, "name: want a value, it is missing"),
        ({"colour": "red"}, "colour: not known here"),
        ({"events__user_id": "DECIDE"}, "1 decisions are open: events.user_id"),
        ({"actions": [{"name": "x", "role": "DECIDE"}]}, r"are open: actions\[0\]\.role"),
        ({"events__user_id": 3}, "events.user_id: want text, got 3"),
        ({"events__users": "u"}, "events.users: not known here"),
        ({"events__files": []}, "events.files: want at least one file"),
        ({"events__files": [3]}, "events.files: want a list of texts"),
        ({"events__format": "xlsx"}, "events.format: want one of parquet, csv, got 'xlsx'"),
        ({"events__csv": {"delimiter": "::"}}, "events.csv.columns: want the names"),
        ({"events__occurred_at": "at"}, "events.occurred_at: want a table, got 'at'"),
        (
            {"events__occurred_at": {"column": "at", "unit": "m"}},
            "events.occurred_at.unit: want one of s, ms",
        ),
        (
            {"events__occurred_at": {"column": "at", "unit": "iso", "zone": "Mars/Base"}},
            "events.occurred_at.zone: want a time zone such as UTC",
        ),
        ({"actions": []}, "no action has the role 'target'"),
        ({"actions": [{"name": "x", "role": "good"}]}, r"actions\[0\]\.role: want one of target"),
        (
            {"actions": [{"name": "x", "role": "target", "values": ["y"]}]},
            r"actions\[0\]\.values: not known here",
        ),
        (
            {"actions": [{"name": "x", "role": "target", "where": [{"column": "c"}]}]},
            "want one of equals, one_of, at_least, below",
        ),
        (
            {
                "actions": [
                    {"name": "x", "role": "target", "where": [{"column": "c", "below": "3"}]}
                ]
            },
            "below: want a number, got '3'",
        ),
        (
            {
                "actions": [
                    {"name": "x", "role": "target", "where": [{"column": "c", "one_of": []}]}
                ]
            },
            r"one_of: want a list of values, got \[\]",
        ),
        ({"events__action": "what"}, "events.action names a column, so want 'values'"),
        (
            {"facets": [{"name": "user_id", "kind": "numeric", "phase": "request"}]},
            r"facets\[0\].name: 'user_id' is taken",
        ),
        (
            {"facets": [{"name": "rule", "kind": "numeric", "phase": "request"}]},
            r"facets\[0\].name: 'rule' is taken",
        ),
        (
            {
                "facets": [
                    {"name": "x", "kind": "categorical", "phase": "request", "column": "track"}
                ]
            },
            r"facets\[0\]: the column 'track' is the events' item_id, which is no facet",
        ),
        (
            {"facets": [{"name": "user", "kind": "categorical", "phase": "outcome"}]},
            r"facets\[0\]: the column 'user' is the events' user_id, which is no facet",
        ),
        (
            {"facets": [{"name": "x", "kind": "duration", "phase": "outcome"}]},
            r"facets\[0\]\.unit: want a value",
        ),
        ({"catalogue__title": "t"}, "catalogue.title: not known here, or not together"),
        ({"exposure": "play"}, "exposure 'play' is no ignored action"),
        ({"world": {"recipe": "os:system"}}, "world.recipe: want the name of a recipe"),
        ({"world": {"fine_tuned_days": 0}}, "world.fine_tuned_days: want at least 1"),
        ({"world": {"evaluation_days": -1}}, "world.evaluation_days: want 0 or more, got -1"),
        ({"world": {"quality_margin": 2}}, "world.quality_margin: want a number above 0, at"),
        ({"world": {"empty_days": "yes"}}, "world.empty_days: want true or false, got 'yes'"),
        ({"world": {"first_day": "soon"}}, "world.first_day: want a day as YYYY-MM-DD"),
        (
            {"world": {"first_day": "2026-02-01", "last_day": "2026-01-01"}},
            "world: 2026-02-01 is after 2026-01-01",
        ),
    ],
)
def test_what_a_mapping_cannot_say_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        mapping_from(mapping(tmp_path, **changes))


def test_one_word_is_one_action(tmp_path: Path) -> None:
    actions = [
        {"name": "play", "role": "target"},
        {"name": "start", "role": "context", "values": ["play"]},
    ]
    with pytest.raises(ConfigError, match="'play' and 'start' both take 'play'"):
        mapping_from(mapping(tmp_path, events__action="what", actions=actions))


@pytest.mark.parametrize("text", ["name = ", "!!python/object/apply:os.system ['true']", "\xff"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(ConfigError, match=r"mapping\.toml: want TOML"):
        read_mapping(path)
    with pytest.raises(ConfigError, match="no such mapping; `marquee source init`"):
        read_mapping(tmp_path / "gone.toml")
