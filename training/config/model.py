"""What a model is made of."""

from dataclasses import dataclass, field
from typing import Literal

from training.config.rules import require, require_kinds, require_share

_CHOICES = {
    "block": ("transformer", "sasrec", "hstu"),
    "positions": ("rotary", "learned"),
    "relative_bias": ((), ("position",), ("position", "time")),
    "norm": ("rms", "layer"),
    "item_text": ("none", "l2_supercat_256"),
    "item_gate": ("content", "age_and_count"),
    "user_state": ("last", "mean", "attention"),
    "feed_forward": ("gated", "plain"),
    "request_facets": ("plain", "all"),
    "request_numbers": ("scaled", "coded", "periodic"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadsConfig:
    """What a model says of the next token beside its item."""

    names: tuple[str, ...] = ()
    """Of ``action``, ``duration``, ``time_to_next``, ``genres``, the catalogue's categories and the
    request's, as far as the log has them; none by default."""

    weight: float = 0.1
    """What the loss of a head counts, where the item's own counts one."""

    hierarchical: bool = False
    """Whether the item is scored with what the heads say, or beside it."""

    def __post_init__(self) -> None:
        """Refuse heads that repeat and weights below zero."""
        require_kinds(self)
        object.__setattr__(self, "names", tuple(self.names))  # JSON has lists
        repeats = sorted({name for name in self.names if self.names.count(name) > 1})
        require(holds=not repeats, rule=f"names: heads repeat: {repeats}")
        require(holds=self.weight >= 0, rule=f"want at least 0: {self.weight=}")
        require(
            holds=bool(self.names) or not self.hierarchical,
            rule=f"there is no head to say anything: {self.hierarchical=}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Shape of the model; what the log adds to it is in ``FeatureSpec``."""

    model_dim: int = 64
    """Width of every token inside the transformer (D)."""

    score_dim: int = 63
    """Width of the space in which users and items meet; the item bias is one dimension more."""

    num_layers: int = 2
    """Blocks."""

    num_heads: int = 2
    """Attention heads (H); divides ``model_dim``, and the head width is even (rotary)."""

    hidden_dim: int = 128
    """Width inside a block's feed-forward part."""

    facet_dim: int = 16
    """Width of one categorical facet's weight row, before all of them are projected."""

    max_seq_len: int = 128
    """Positions of one user that the model sees, the newest ones; also the length of a row."""

    row_norm: float = 1.0
    """Length of items' weight rows before training; of tied ones it is also how far apart the first
    logits are."""

    dropout: float = 0.1
    """Share of activations that is zeroed on the residual branches while training."""

    input_dropout: float = 0.0
    """Share of the input of every position that is zeroed while training."""

    request_dropout: float = 0.5
    """Share of positions whose request is hidden while training: vectors are served without one."""

    id_dropout: float = 0.05
    """Share of items whose id is hidden in a step, so that metadata alone gives a vector."""

    block: Literal["transformer", "sasrec", "hstu"] = "transformer"
    """What a layer is: softmax attention and a feed-forward part; the same as SASRec's public
    implementations have it (``feed_forward`` says nothing then: it is plain); or gated pointwise
    attention, which has no feed-forward part (nor does ``hidden_dim`` say anything)."""

    positions: Literal["rotary", "learned"] = "rotary"
    """How a position is known: by the angle between two, or by a weight row of each."""

    attention_window: int = 0
    """Newest positions that each one looks at, itself included; 0 = all before it."""

    attention_global: int = 0
    """First positions of the window that all look at beside these."""

    relative_bias: tuple[Literal["position", "time"], ...] = ()
    """What is added to attention's scores: nothing, ("position",) or ("position", "time")."""

    request_time_known: bool = False
    """Whether the bias by time stands at the instant of the request, which is part of what is known
    then; otherwise at the end of the token before, and says nothing of when the next one begins."""

    norm: Literal["rms", "layer"] = "rms"
    """Norm before every branch and at the end."""

    feed_forward: Literal["gated", "plain"] = "gated"
    """SwiGLU, or two layers around a rectifier."""

    user_state: Literal["last", "mean", "attention"] = "last"
    """What stands for a user: the last hidden state, or the newest ones pooled."""

    user_state_newest: int = 8
    """Hidden states that are pooled, where any are."""

    layer_mix: bool = False
    """Whether hidden states are a learned mix of all layers' instead of the last one's."""

    layer_loss: float = 0.0
    """Weight of the loss of each layer before the last one, whose own has weight 1."""

    input_facets: bool = True
    """Whether outcomes, requests and gaps are read, beside the items."""

    request_facets: Literal["plain", "all"] = "plain"
    """Which facets of requests are read: categories and numbers, or also sets and instants."""

    request_numbers: Literal["scaled", "coded", "periodic"] = "scaled"
    """How a number is read: as it is, in standard deviations; by a weight row of its magnitude; or
    by waves of learned frequencies (arXiv:2203.05556, sec. 3.3)."""

    request_calendar: bool = False
    """Whether hour of the week, month and trend are read of the request's instant, beside its hour
    and weekday."""

    item_metadata: bool = True
    """Whether an item is more than its id."""

    item_text: Literal["none", "l2_supercat_256"] = "none"
    """Whose word vectors title and synopsis are read by; the extra ``text`` brings them along."""

    item_gate: Literal["content", "age_and_count"] = "content"
    """What decides between an item's own row and its metadata: the two themselves, or also the
    item's age and how often pretraining saw it."""

    item_bias: bool = True
    """Whether an item has a score of its own, one more dimension of the published vectors."""

    tied_output: bool = False
    """Whether hidden states meet the items' encodings themselves, without a projection."""

    heads: HeadsConfig = field(default_factory=HeadsConfig)
    """What is predicted beside the item."""

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit together."""
        require_kinds(self)
        object.__setattr__(self, "relative_bias", tuple(self.relative_bias))  # JSON has lists
        for name in ("model_dim", "score_dim", "num_layers", "num_heads", "hidden_dim"):
            value = getattr(self, name)
            require(holds=value >= 1, rule=f"{name}: want at least 1, got {value}")
        require(holds=self.row_norm > 0, rule=f"row_norm: want > 0, got {self.row_norm}")
        require(holds=self.facet_dim >= 1, rule=f"facet_dim: want at least 1, {self.facet_dim=}")
        require(
            holds=self.model_dim % (2 * self.num_heads) == 0,
            rule=f"want an even width per head: {self.num_heads=} {self.model_dim=}",
        )
        require(holds=self.max_seq_len >= 2, rule=f"want at least 2: {self.max_seq_len=}")
        for name in ("dropout", "input_dropout", "request_dropout", "id_dropout"):
            require_share(name, getattr(self, name))
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            require(holds=value in known, rule=f"{name}: want one of {known}, got {value!r}")
        require(holds=self.user_state_newest >= 1, rule=f"want >= 1: {self.user_state_newest=}")
        for name in ("attention_window", "attention_global", "layer_loss"):
            value = getattr(self, name)
            require(holds=value >= 0, rule=f"{name}: want at least 0, got {value}")
        require(
            holds=not self.attention_global or self.attention_window > 0,
            rule=f"without a window all positions see all: {self.attention_global=}",
        )
        read = (self.request_facets, self.request_numbers, self.request_calendar)
        require(
            holds=self.input_facets or read == ("plain", "scaled", False),
            rule=f"no request is read: {self.input_facets=} {self.request_facets=} "
            f"{self.request_numbers=} {self.request_calendar=}",
        )
        require(
            holds=self.item_text == "none" or self.item_metadata,
            rule=f"without metadata no text is read: {self.item_text=}",
        )
        require(
            holds=self.item_gate == "content" or self.item_metadata,
            rule=f"without metadata there is no gate: {self.item_gate=}",
        )
        require(
            holds=not self.request_time_known or "time" in self.relative_bias,
            rule=f"no bias by time reads the request's: {self.request_time_known=}",
        )
        require(
            holds=not self.request_time_known or "time_to_next" not in self.heads.names,
            rule=f"the head time_to_next could read its answer: {self.request_time_known=}",
        )
        require(
            holds=not self.tied_output or self.score_dim == self.model_dim,
            rule=f"a tied output has the model's width: {self.score_dim=} {self.model_dim=}",
        )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.model_dim // self.num_heads

    @property
    def published_dim(self) -> int:
        """Width of the vectors whose inner product is the logit."""
        return self.score_dim + self.item_bias
