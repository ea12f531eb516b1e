"""Values of a config, changed by their path."""

from dataclasses import replace

import pytest

from benchmarks.quality.changes import changed, configs_of
from training.errors import ConfigError
from training.recipes import sasrec, tiny


def test_a_change_is_a_value_by_its_path() -> None:
    texts = ['windows="slide"', 'model.num_layers=2 model.relative_bias=["position","time"]']
    configs = changed(tiny(), texts)

    assert list(configs) == ["recipe", *texts]
    assert configs["recipe"] == tiny()
    assert configs[texts[0]] == replace(tiny(), windows="slide")
    two = replace(tiny().model, num_layers=2, relative_bias=("position", "time"))
    assert configs[texts[1]] == replace(tiny(), model=two)


@pytest.mark.parametrize("text", ["", "windows", "model.nothing=1", "nothing.num_layers=1"])
def test_a_change_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="want path=value such as"):
        changed(tiny(), [text])


@pytest.mark.parametrize(
    ("text", "message"),
    [("model={}", "want one value, such as model."), ("seed=5", "given by --seeds")],
)
def test_a_change_of_what_is_no_value_or_given_elsewhere_is_refused(
    text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(tiny(), [text])


def test_text_without_quotes_is_refused() -> None:
    with pytest.raises(ConfigError, match="text in double quotes"):
        changed(tiny(), ["model.block=hstu"])


def test_every_recipe_has_a_row_of_its_own_for_every_change() -> None:
    configs = configs_of(["tiny", "sasrec"], ["num_epochs=7"])

    assert configs == {
        "tiny": tiny(),
        "tiny num_epochs=7": replace(tiny(), num_epochs=7),
        "sasrec": sasrec(),
        "sasrec num_epochs=7": replace(sasrec(), num_epochs=7),
    }
