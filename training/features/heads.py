"""What auxiliary heads may be asked of a token beside its item, and what is right.

What is not known of a token is not asked for: "unknown" is no class. A head is asked about the
token that its position predicts, so what the position reads of it is no question: what belongs to
the request is asked for where no request is read, the time to the next token where no gap is.
Legend: R asked positions, C classes of a head.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from training.config.model import ModelConfig
from training.errors import ConfigError
from training.features.items import ItemFeatures
from training.features.spec import FeatureSpec
from training.features.tokens import NUM_DURATION_CODES, NUM_GAP_CODES, TokenFeatures

Source = Literal["action", "duration", "time_to_next", "genres", "item", "request"]

NOT_ASKED = -1
"""In the place of a class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One thing to say of a token."""

    name: str
    source: Source
    num_classes: int
    column: int = 0
    """Of the categories of items or of requests."""

    @property
    def is_set(self) -> bool:
        """Several classes may hold at once."""
        return self.source in ("action", "genres")

    @property
    def is_of_request(self) -> bool:
        """A position that reads its request would read the answer."""
        return self.source in ("time_to_next", "request")


def heads_of(spec: FeatureSpec) -> Mapping[str, Head]:
    """Return what may be asked; of two with one name the catalogue's, never the request's."""
    own = [
        Head(name="action", source="action", num_classes=len(spec.actions)),
        Head(name="duration", source="duration", num_classes=NUM_DURATION_CODES - 1),
        Head(name="time_to_next", source="time_to_next", num_classes=NUM_GAP_CODES - 1),
    ]
    if spec.genres:
        own.append(Head(name="genres", source="genres", num_classes=len(spec.genres)))
    return {
        head.name: head
        for head in (
            *_of_categories("request", spec.request_categories),
            *_of_categories("item", spec.item_categories),
            *own,
        )
    }


def _of_categories(source: Source, categories: Mapping[str, Sequence[str]]) -> list[Head]:
    return [
        Head(name=name, source=source, num_classes=len(values), column=column)
        for column, (name, values) in enumerate(categories.items())
        if values
    ]


def chosen_heads(config: ModelConfig, spec: FeatureSpec) -> tuple[Head, ...]:
    """Return the heads that a model has; raises ConfigError, naming one that it cannot have."""
    known = heads_of(spec)
    for name in config.heads.names:
        if name not in known:
            raise ConfigError(f"heads: want some of {sorted(known)}, got {name!r}")
        reads_request = config.input_facets and config.request_dropout == 0.0
        if known[name].is_of_request and reads_request:
            raise ConfigError(
                f"heads: {name!r} is asked for where the request is hidden: want "
                f"request_dropout > 0, got {config.request_dropout}"
            )
    return tuple(known[name] for name in config.heads.names)


def answer_of(
    head: Head, tokens: TokenFeatures, items: ItemFeatures, token_R: Tensor, item_R: Tensor
) -> Tensor:
    """Return what is right of some tokens and their items.

    Returns:
        int64[R], NOT_ASKED where nothing is known; of a set float32[R, C] of ones and zeros, all
        zeros where nothing is known.
    """
    match head.source:
        case "action":
            return tokens.outcome_TA[token_R, : head.num_classes]
        case "genres":
            return (items.genres_MG[item_R] > 0).float()
        case "duration":
            code_R = tokens.duration_T[token_R]
        case "time_to_next":
            code_R = tokens.gap_T[token_R]
        case "item":
            code_R = items.codes_MK[item_R, head.column]
        case "request":
            code_R = tokens.request_TC[token_R, head.column]
    # the codes of all of them are 0 = unknown, then the classes
    return code_R.to(torch.int64) - 1
