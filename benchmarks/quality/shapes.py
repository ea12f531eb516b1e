"""Recipes of other shapes with the sizes of a recipe of ours, to compare it with.

``--recipes kuairand,benchmarks.quality.shapes:kuairand_sasrec``
"""

from dataclasses import replace

from training.config.model import ModelConfig
from training.config.run import RunConfig
from training.config.targets import ALWAYS, TargetConfig
from training.recipes import demo, kuairand, ordered, releases, sasrec


def as_sasrec(base: RunConfig) -> RunConfig:
    """Return SASRec with the width, depth and length of a recipe, at its own rate.

    Every position is asked for its own token, all of them alike; items are ids.
    """
    shape = sasrec()
    sizes = {
        name: getattr(base.model, name)
        for name in ("model_dim", "num_layers", "hidden_dim", "max_seq_len")
    }
    model = replace(shape.model, **sizes, score_dim=base.model.model_dim)
    return replace(base, model=model, targets=_next_alone(), optim=shape.optim, new_items="mean")


def as_hstu(base: RunConfig) -> RunConfig:
    """Return ``as_sasrec`` with HSTU's blocks and its bias by position and time."""
    shape = as_sasrec(base)
    model: ModelConfig = replace(
        shape.model,
        block="hstu",
        relative_bias=("position", "time"),
        positions="rotary",
        norm="rms",
        num_heads=2,
    )
    return replace(shape, model=model)


def _next_alone() -> TargetConfig:
    return TargetConfig(
        num_targets=1, half_life_days=ALWAYS, window_hours=ALWAYS, prefix_weight=1.0
    )


def _ids_alone(base: RunConfig) -> RunConfig:
    return replace(base, model=replace(base.model, item_metadata=False), new_items="mean")


def ordered_and_timed() -> RunConfig:
    """Return ``ordered`` for where the instant of the request is known: it reads the gaps, too."""
    base = ordered()
    model = replace(base.model, input_facets=True, request_dropout=0.0)
    return replace(base, model=model)


def demo_sasrec() -> RunConfig:
    """Return SASRec for the simulated world."""
    return as_sasrec(demo())


def demo_hstu() -> RunConfig:
    """Return HSTU for the simulated world."""
    return as_hstu(demo())


def demo_several_targets() -> RunConfig:
    """Return ``demo`` with the next four targets a position instead of one."""
    return replace(demo(), targets=replace(demo().targets, num_targets=4))


def demo_ids() -> RunConfig:
    """Return ``demo`` without metadata of items."""
    return _ids_alone(demo())


def kuairand_sasrec() -> RunConfig:
    """Return SASRec for KuaiRand-Pure."""
    return as_sasrec(kuairand())


def kuairand_hstu() -> RunConfig:
    """Return HSTU for KuaiRand-Pure."""
    return as_hstu(kuairand())


def kuairand_ids() -> RunConfig:
    """Return ``kuairand`` without metadata of items."""
    return _ids_alone(kuairand())


def releases_sasrec() -> RunConfig:
    """Return SASRec for MovieTweetings."""
    return as_sasrec(releases())


def releases_hstu() -> RunConfig:
    """Return HSTU for MovieTweetings."""
    return as_hstu(releases())


def releases_ids() -> RunConfig:
    """Return ``releases`` without metadata of items."""
    return _ids_alone(releases())
