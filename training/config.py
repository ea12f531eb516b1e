"""What a training run is, whole: every number that changes its result is here."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from training.errors import ConfigError

ALWAYS = 1e9
"""A time without end, in any unit: every target counts alike, however old or far ahead."""

WindowChoice = Literal["newest", "slide", "mixed"]
NewItems = Literal["mean", "random", "metadata", "unknown"]


def _require(*, holds: bool, rule: str) -> None:
    if not holds:
        raise ConfigError(rule)


_CHOICES = {
    "block": ("transformer", "hstu"),
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


def _share(name: str, value: float) -> None:
    _require(holds=0.0 <= value < 1.0, rule=f"{name}: want a share in [0, 1), got {value}")


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
        object.__setattr__(self, "names", tuple(self.names))  # JSON has lists
        repeats = sorted({name for name in self.names if self.names.count(name) > 1})
        _require(holds=not repeats, rule=f"names: heads repeat: {repeats}")
        _require(holds=self.weight >= 0, rule=f"want at least 0: {self.weight=}")
        _require(
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

    block: Literal["transformer", "hstu"] = "transformer"
    """What a layer is: softmax attention and a feed-forward part, or gated pointwise attention,
    which has no feed-forward part (``hidden_dim`` and ``feed_forward`` say nothing then)."""

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
        object.__setattr__(self, "relative_bias", tuple(self.relative_bias))  # JSON has lists
        for name in ("model_dim", "score_dim", "num_layers", "num_heads", "hidden_dim"):
            value = getattr(self, name)
            _require(holds=value >= 1, rule=f"{name}: want at least 1, got {value}")
        _require(holds=self.row_norm > 0, rule=f"row_norm: want > 0, got {self.row_norm}")
        _require(holds=self.facet_dim >= 1, rule=f"facet_dim: want at least 1, {self.facet_dim=}")
        _require(
            holds=self.model_dim % (2 * self.num_heads) == 0,
            rule=f"want an even width per head: {self.num_heads=} {self.model_dim=}",
        )
        _require(holds=self.max_seq_len >= 2, rule=f"want at least 2: {self.max_seq_len=}")
        for name in ("dropout", "input_dropout", "request_dropout", "id_dropout"):
            _share(name, getattr(self, name))
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            _require(holds=value in known, rule=f"{name}: want one of {known}, got {value!r}")
        _require(holds=self.user_state_newest >= 1, rule=f"want >= 1: {self.user_state_newest=}")
        for name in ("attention_window", "attention_global", "layer_loss"):
            value = getattr(self, name)
            _require(holds=value >= 0, rule=f"{name}: want at least 0, got {value}")
        _require(
            holds=not self.attention_global or self.attention_window > 0,
            rule=f"without a window all positions see all: {self.attention_global=}",
        )
        read = (self.request_facets, self.request_numbers, self.request_calendar)
        _require(
            holds=self.input_facets or read == ("plain", "scaled", False),
            rule=f"no request is read: {self.input_facets=} {self.request_facets=} "
            f"{self.request_numbers=} {self.request_calendar=}",
        )
        _require(
            holds=self.item_text == "none" or self.item_metadata,
            rule=f"without metadata no text is read: {self.item_text=}",
        )
        _require(
            holds=self.item_gate == "content" or self.item_metadata,
            rule=f"without metadata there is no gate: {self.item_gate=}",
        )
        _require(
            holds=not self.request_time_known or "time" in self.relative_bias,
            rule=f"no bias by time reads the request's: {self.request_time_known=}",
        )
        _require(
            holds=not self.request_time_known or "time_to_next" not in self.heads.names,
            rule=f"the head time_to_next could read its answer: {self.request_time_known=}",
        )
        _require(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class UtilityConfig:
    """What a target is worth by what the user did with it; the mean over all targets is one.

    The two factors multiply.
    """

    actions: tuple[tuple[str, float], ...] = ()
    """Actions and their factors: a token has the largest of those that it holds, or 1. Pairs, since
    a tracker takes no name that a log may give."""

    log_minutes: float = 0.0
    """A token of so many minutes counts 1 + this * log(1 + minutes)."""

    def __post_init__(self) -> None:
        """Refuse to reward a model for being wrong."""
        pairs = tuple((name, factor) for name, factor in self.actions)
        object.__setattr__(self, "actions", pairs)  # JSON has lists
        below = [pair for pair in pairs if pair[1] < 0]
        _require(holds=not below, rule=f"actions: want factors of at least 0, got {below}")
        _require(holds=len(dict(pairs)) == len(pairs), rule=f"actions: one repeats in {pairs}")
        _require(holds=self.log_minutes >= 0, rule=f"want at least 0: {self.log_minutes=}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetConfig:
    """What a position is asked for, and how much each target counts."""

    num_targets: int = 4
    """Targets of one position (K): its own token and the next ones; they share its logits."""

    decay: float = 0.5
    """Weight of each further target, as a share of the one before."""

    window_hours: float = 36.0
    """Targets that begin later than this after the position's token are not asked for there."""

    window_tokens: int = 8
    """The same in tokens, where only the order is known."""

    ahead_half_life_hours: float = ALWAYS
    """How far ahead a target of a position counts half, beside ``decay`` (multi-token prediction
    with weights by time, arXiv:2605.23312); of tokens of which only the order is known, nothing."""

    half_life_days: float = 14.0
    """Age at which a target counts half: the next day resembles the last days most."""

    prefix_weight: float = 0.25
    """Weight of a target of which only the order is known."""

    utility: UtilityConfig = field(default_factory=UtilityConfig)
    """What a target is worth beside its age; all alike by default."""

    def __post_init__(self) -> None:
        """Refuse numbers that leave no target."""
        _require(holds=self.num_targets >= 1, rule=f"want at least 1: {self.num_targets=}")
        _require(holds=0 < self.decay <= 1, rule=f"want in (0, 1]: {self.decay=}")
        _require(holds=self.window_hours > 0, rule=f"want > 0: {self.window_hours=}")
        _require(holds=self.window_tokens >= 1, rule=f"want at least 1: {self.window_tokens=}")
        _require(
            holds=self.ahead_half_life_hours > 0, rule=f"want > 0: {self.ahead_half_life_hours=}"
        )
        _require(holds=self.half_life_days > 0, rule=f"want > 0: {self.half_life_days=}")
        _require(holds=self.prefix_weight >= 0, rule=f"want >= 0: {self.prefix_weight=}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """What a target is compared with."""

    kind: Literal["full", "sampled", "gbce"] = "full"
    """The whole catalogue, a softmax over a sample, or binary losses over a sample."""

    num_negatives: int = 512
    """Items drawn once for a thread's share of a step (N); only of a sample."""

    negatives: Literal["uniform", "popularity", "batch"] = "uniform"
    """What they are drawn from: all items alike, by their share of the targets, or the targets that
    the share itself asks for."""

    corrects_popularity: bool = False
    """Whether a negative counts by how rarely it is drawn (logQ); not of ``gbce``."""

    calibration: float = 0.75
    """Of ``gbce``: 0 trusts its likelihoods as they are, 1 corrects them for the sampling."""

    def __post_init__(self) -> None:
        """Refuse samples of nothing and unknown names."""
        for name, known in (
            ("kind", ("full", "sampled", "gbce")),
            ("negatives", ("uniform", "popularity", "batch")),
        ):
            value = getattr(self, name)
            _require(holds=value in known, rule=f"{name}: want one of {known}, got {value!r}")
        _require(holds=self.num_negatives >= 1, rule=f"want at least 1: {self.num_negatives=}")
        _require(holds=0.0 <= self.calibration <= 1.0, rule=f"want in [0, 1]: {self.calibration=}")
        _require(
            holds=not (self.kind == "gbce" and self.corrects_popularity),
            rule="gbce: want corrects_popularity False, it has a calibration of its own",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """How weights are fitted: AdamW, linear warm-up, decay."""

    learning_rate: float = 2e-3
    """Step size after the warm-up."""

    schedule: Literal["cosine", "constant", "inverse_sqrt"] = "cosine"
    """What follows the warm-up: half a cosine down to ``final_share``, the same step size to the
    end, or one that falls with the root of the steps since (Vaswani et al. 2017, sec. 5.3)."""

    final_share: float = 0.02
    """Step size at the end of a cosine, as a share of ``learning_rate``."""

    warmup_share: float = 0.08
    """Share of the steps in which the step size grows from zero."""

    weight_decay: float = 0.02
    """Decoupled decay of matrices; biases, norms and single rows do not decay."""

    clip_norm: float = 1.0
    """Largest norm of all gradients together."""

    average_decay: float = 0.0
    """What of the average of the weights is kept at each step; 0 = the last weights are the model,
    otherwise their exponential moving average is (Polyak & Juditsky 1992)."""

    def __post_init__(self) -> None:
        """Refuse step sizes and shares out of range."""
        known = ("cosine", "constant", "inverse_sqrt")
        _require(
            holds=self.schedule in known,
            rule=f"schedule: want one of {known}, got {self.schedule!r}",
        )
        _share("average_decay", self.average_decay)
        _require(holds=self.learning_rate > 0, rule=f"want > 0: {self.learning_rate=}")
        _require(holds=self.weight_decay >= 0, rule=f"want >= 0: {self.weight_decay=}")
        _require(holds=self.clip_norm > 0, rule=f"want > 0: {self.clip_norm=}")
        _share("final_share", self.final_share)
        _share("warmup_share", self.warmup_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """What a fine-tuning run repeats of older days, so that it forgets nothing."""

    older_share: float = 0.5
    """Older targets per target of the new day."""

    def __post_init__(self) -> None:
        """Refuse a negative share."""
        _require(holds=self.older_share >= 0, rule=f"want >= 0: {self.older_share=}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """When a step has failed, and what is done about it."""

    spike_factor: float = 3.0
    """A loss of more than this many times the median of the last ones is a failed step, as one that
    is not finite always is."""

    snapshot_steps: int = 200
    """Steps between two states that a failed step goes back to; a checkpoint is one of them."""

    max_skipped: int = 5
    """Steps that may be skipped for having failed; at one more the run is given up."""

    def __post_init__(self) -> None:
        """Refuse a guard that nothing passes."""
        _require(holds=self.spike_factor > 1, rule=f"want > 1: {self.spike_factor=}")
        _require(holds=self.snapshot_steps >= 1, rule=f"want at least 1: {self.snapshot_steps=}")
        _require(holds=self.max_skipped >= 0, rule=f"want at least 0: {self.max_skipped=}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingConfig:
    """When pretraining ends before its last pass, and which weights it keeps."""

    one_in: int = 0
    """One user in this many is asked for the newest target of its history, which nobody learns;
    0 = nobody is asked, and a run goes through all its passes."""

    every_epochs: int = 1
    """Passes between two times of asking."""

    patience: int = 3
    """Times in a row without a better answer that end the run; the best weights are kept."""

    def __post_init__(self) -> None:
        """Refuse what would ask for everything or never end."""
        _require(
            holds=self.one_in == 0 or (self.one_in >= 2 and self.one_in.bit_count() == 1),
            rule=f"want 0 or a power of two of at least 2: {self.one_in=}",
        )
        _require(holds=self.every_epochs >= 1, rule=f"want at least 1: {self.every_epochs=}")
        _require(holds=self.patience >= 1, rule=f"want at least 1: {self.patience=}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One run: model, optimiser, length, seed."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """Shape; a fine-tuning run takes its base's shape and refuses another."""

    targets: TargetConfig = field(default_factory=TargetConfig)
    """What is learned."""

    loss: LossConfig = field(default_factory=LossConfig)
    """What a target is compared with."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser of pretraining."""

    fine_tune_optim: OptimConfig = field(default_factory=lambda: OptimConfig(learning_rate=1e-3))
    """Optimiser of one day's fine-tuning."""

    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """Older targets in one day's fine-tuning."""

    guard: GuardConfig = field(default_factory=GuardConfig)
    """What becomes of a step that fails."""

    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    """When pretraining has learned enough."""

    held_out_one_in: int = 8
    """One user in this many teaches a day's model nothing of that day: the quality gate asks them.
    The fewer users a day has, the more of them it takes for an interval that tells something."""

    num_epochs: int = 8
    """Passes over the targets in pretraining."""

    windows: WindowChoice = "newest"
    """Which ``max_seq_len`` positions of a longer history a pass of pretraining reads: the newest;
    another part in every pass, until all was read; or by a coin either. A day's fine-tuning reads
    the newest, where its targets are."""

    fine_tune_epochs: int = 2
    """Passes over the day's targets in fine-tuning."""

    new_items: NewItems = "mean"
    """Where the weight rows of a day's new items start: at the mean of the old ones, at random as
    in pretraining, between those of the items that are described most alike, or at the one that
    hidden and unknown items are read by, which pretraining has taught to lean on metadata."""

    batch_tokens: int = 4096
    """Positions of one step, at most."""

    accumulate: int = 1
    """Pieces that a step is computed in, one after another: less memory, the same gradient."""

    chunk_targets: int = 256
    """Targets whose logits exist at one time, on each thread: bounds memory, changes nothing else.
    256 is fastest with 3,416 and with 7,583 items: it stays in cache."""

    seed: int = 1
    """Seed of every random draw of the run."""

    num_threads: int = 1
    """Threads that a step is shared out to; the same weights are promised only for the same
    number."""

    def __post_init__(self) -> None:
        """Refuse runs without steps, rows or weight."""
        for name in (
            "num_epochs",
            "fine_tune_epochs",
            "accumulate",
            "chunk_targets",
            "num_threads",
        ):
            value = getattr(self, name)
            _require(holds=value >= 1, rule=f"{name}: want at least 1, got {value}")
        _require(
            holds=self.held_out_one_in >= 2 and self.held_out_one_in.bit_count() == 1,
            rule=f"want a power of two of at least 2: {self.held_out_one_in=}",
        )
        for name, known in (("windows", WindowChoice), ("new_items", NewItems)):
            value, choices = getattr(self, name), get_args(known)
            _require(holds=value in choices, rule=f"{name}: want one of {choices}, got {value!r}")
        _require(
            holds=self.new_items != "metadata" or self.model.item_metadata,
            rule=f"without metadata nothing is alike: {self.new_items=}",
        )
        _require(
            holds=self.batch_tokens >= self.model.max_seq_len,
            rule=f"a step holds no window: {self.batch_tokens=} {self.model.max_seq_len=}",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RunConfig":
        """Read what ``to_json`` returned; raises ConfigError, naming what it does not know."""
        parts: dict[str, Callable[..., Any]] = {
            "model": _model_of,
            "targets": _targets_of,
            "loss": LossConfig,
            "optim": OptimConfig,
            "fine_tune_optim": OptimConfig,
            "replay": ReplayConfig,
            "guard": GuardConfig,
            "stopping": StoppingConfig,
        }
        try:
            # a part that an older release did not know has the values that it implied
            nested = {name: part(**value.get(name, {})) for name, part in parts.items()}
            return cls(**{**value, **nested})
        except (TypeError, KeyError) as error:
            text = json.dumps(value, sort_keys=True)
            raise ConfigError(f"run config: {error} in {text}") from error


def _model_of(*, heads: dict[str, Any] | None = None, **fields: Any) -> ModelConfig:
    return ModelConfig(heads=HeadsConfig(**heads or {}), **fields)


def _targets_of(*, utility: dict[str, Any] | None = None, **fields: Any) -> TargetConfig:
    return TargetConfig(utility=UtilityConfig(**utility or {}), **fields)
