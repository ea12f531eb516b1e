"""The tokenizers of this project, by the name of what they make; all are read in one way."""

from collections.abc import Mapping

from training.schema import ActionRole
from training.tokens.config import TokenizerConfig

TOKENIZERS: Mapping[str, TokenizerConfig] = {
    # for pretraining: everything that users did, a session of one item to a token
    "interaction_tokens": TokenizerConfig(),
    # for applications on what was chosen, such as a row to resume from: a film watched in the
    # evening and finished at breakfast is one viewing, unless another one came between
    "viewing_tokens": TokenizerConfig(merge_gap_s=24 * 3600, roles=(ActionRole.TARGET,)),
}
