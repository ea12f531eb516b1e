"""The tokenizer's report on a day of a small simulated world."""

import re
from datetime import date
from pathlib import Path

import pytest

from assets import previews, token_report
from assets.backfill import build_day
from assets.pages import page_url, pages_folder
from assets.watermark import wall_clock
from assets.workspace import Workspace, WorkspaceConfig

DAYS = ["2026-01-01", "2026-01-02"]


@pytest.fixture
def world(tmp_path: Path) -> Workspace:
    parameters = {"num_users": 60, "num_titles": 100, "first_day": DAYS[0], "num_days": 2}
    workspace = Workspace.create(
        tmp_path / "world",
        WorkspaceConfig(
            source="simulated",
            source_parameters=parameters,
            first_day=date(2026, 1, 1),
            last_day=date(2026, 1, 2),
            recipe="tiny",
        ),
    )
    for day in DAYS:
        list(build_day(workspace, day, now=wall_clock()))
    return workspace


def test_the_report_stands_alone_and_names_nobody(world: Workspace) -> None:
    tokens = world.lake.require("interaction_tokens", DAYS[1])

    page = token_report.of_tokens(world, tokens, world.lake.require("valid_events", DAYS[1]))

    html = page.read_text()
    assert page.is_relative_to(pages_folder(world.root))
    assert re.findall(r"(?:src|href)=\"(?!data:image/png;base64,)", html) == []
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    assert html.count("<img") == 4
    assert f"{tokens.figures['events_in']:,}" in html
    for words in ("events per token", "<th>p99</th>", "<td>2 days</td>", "at most 1 h apart"):
        assert words in html
    assert not re.search(r"u\d{4,}", re.sub(r"base64,[^\"]*", "", html))


def test_a_report_is_drawn_once_for_the_same_tokens(world: Workspace) -> None:
    tokens = world.lake.require("interaction_tokens", DAYS[0])
    valid = world.lake.require("valid_events", DAYS[0])
    page = token_report.of_tokens(world, tokens, valid)
    page.write_text("drawn before")

    assert token_report.of_tokens(world, tokens, valid).read_text() == "drawn before"


def test_the_assets_page_links_to_its_report(world: Workspace) -> None:
    tokens = world.lake.require("interaction_tokens", DAYS[0])
    valid = world.lake.require("valid_events", DAYS[0])

    shown = previews.of_tokens(world, tokens, valid)

    page = token_report.of_tokens(world, tokens, valid)
    assert page_url(world.root, page) in shown["report"].value
