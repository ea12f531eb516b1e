"""What a run prints is computed in ``report``; here is what it compares."""

from dataclasses import replace

import pytest

from benchmarks.quality.ablations import main, variants
from training.config.model import HeadsConfig
from training.config.targets import UtilityConfig
from training.recipes import tiny


def test_one_thing_changes_at_a_time() -> None:
    configs = variants(tiny(), ["action", "genres"], (("play", 2.0),))

    assert list(configs) == [
        "recipe",
        "utility: minutes",
        "utility: actions",
        "head: action",
        "head: genres",
        "all heads",
        "all heads, hierarchical",
    ]
    assert configs["recipe"] == tiny()
    for name, config in list(configs.items())[1:]:
        as_before = replace(
            config,
            model=replace(config.model, heads=HeadsConfig()),
            targets=replace(config.targets, utility=UtilityConfig()),
        )
        assert config != as_before == tiny(), name
    assert configs["all heads, hierarchical"].model.heads.hierarchical


def test_a_small_world_gives_a_table_and_paired_differences(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--users", "150", "--recipe", "tiny", "--days", "2", "--heads", "genres"])

    lines = capsys.readouterr().out.splitlines()
    for name in ("utility: minutes", "head: genres", "all heads", "all heads, hierarchical"):
        # with seen items removed and kept
        assert sum(line.startswith(f"| {name} |") for line in lines) == 2
        assert sum(line.startswith(f"| {name} - recipe |") for line in lines) == 2
        assert sum(line.startswith(f"- {name} (") for line in lines) == 1
    assert sum(line.startswith("| recipe |") for line in lines) == 2


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (["--heads", "genre"], "--heads: want some of action, "),
        (["--facets", "colour"], "--facets: want some of device, "),
        (["--actions", "sung:2"], "utility: want some of "),
        (["--change", 'model.heads.names=["nope"]'], "nope"),
    ],
)
def test_what_the_log_does_not_have_is_refused_in_one_line(
    wrong: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--users", "60", "--recipe", "tiny", "--days", "2", *wrong])

    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]
