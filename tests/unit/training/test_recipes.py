import pytest

from training.config.run import RunConfig
from training.errors import ConfigError
from training.recipes import load_recipe, tiny

NAMES = ["demo", "kuairand", "ordered", "own_log", "ratings", "releases", "sasrec", "tiny"]


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_makes_a_config(name: str) -> None:
    assert isinstance(load_recipe(name), RunConfig)


def test_a_recipe_of_another_module_is_found() -> None:
    assert load_recipe("training.recipes:tiny") == tiny()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nothing",
            f"no recipe 'nothing'; there are {', '.join(NAMES)}",
        ),
        ("no_such_module:tiny", "no_such_module"),
        ("training.recipes:nothing", "nothing"),
        ("training.recipes:ModelConfig", "want a RunConfig, got ModelConfig"),
        (":tiny", "want package.module:function"),
        ("training.recipes:", "want package.module:function"),
        ("training.recipes:load_recipe", "want a function without arguments"),
        ("training.recipes:_RECIPES", "want a function without arguments"),
    ],
)
def test_a_wrong_name_says_what_there_is(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(name)
