"""Recipes with single values of their config changed: ``model.num_layers=3``."""

import json
from collections.abc import Sequence

from training.config.run import RunConfig
from training.errors import ConfigError
from training.recipes import load_recipe


def changed(config: RunConfig, changes: Sequence[str]) -> dict[str, RunConfig]:
    """Return the config and one with each change, by its text; raises ConfigError for none."""
    return {"recipe": config, **{change: _changed(config, change) for change in changes}}


def _changed(config: RunConfig, change: str) -> RunConfig:
    value = config.to_json()
    if not change.strip():
        raise ConfigError(f"want path=value such as model.num_layers=3, got {change!r}")
    for one in change.split():
        path, is_given, text = one.partition("=")
        *parents, name = path.split(".")
        part = value
        for parent in parents:
            part = part.get(parent, {})
        if not is_given or name not in part:
            raise ConfigError(f"want path=value such as model.num_layers=3, got {one!r}")
        if isinstance(part[name], dict):
            raise ConfigError(f"want one value, such as {path}.{min(part[name])}=..., got {one!r}")
        if path == "seed":
            raise ConfigError(f"seeds are given by --seeds, got {one!r}")
        try:
            part[name] = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(
                f'want JSON after "=", text in double quotes as in model.block="hstu", got {one!r}'
            ) from error
    return RunConfig.from_json(value)


def configs_of(recipes: Sequence[str], changes: Sequence[str]) -> dict[str, RunConfig]:
    """Return the config of each recipe by its name, and those with a change beside it."""
    return {
        recipe if change == "recipe" else f"{recipe} {change}": config
        for recipe in recipes
        for change, config in changed(load_recipe(recipe), changes).items()
    }
