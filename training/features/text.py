"""Vectors of what a title is called and about, from word vectors that a package brings along.

Nothing is downloaded: the weights lie in the wheel of ``wordllama`` (MIT; extra ``text``), one
vector per piece of a word, averaged. Legend: M texts.
"""

import importlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.errors import ConfigError

TEXT_DIM = 256


@lru_cache(maxsize=1)
def _encoder() -> Any:
    try:
        wordllama: Any = importlib.import_module("wordllama")
    except ImportError as error:
        raise ConfigError(f"item_text: install the extra marquee[text]: {error}") from error
    # 0.4.0.post1 looks for its own tokenizer in a folder that it does not have, then in the cache
    folder = Path(wordllama.__file__).parent
    return wordllama.WordLlama.load(
        config="l2_supercat", dim=TEXT_DIM, cache_dir=folder, disable_download=True
    )


def text_vectors(texts: Sequence[str | None]) -> Tensor:
    """Return float32 ``[M, TEXT_DIM]``: unit vectors, and zeros where there is no text.

    ``texts`` has a hash. Raises ConfigError where the extra is not installed.
    """
    # a tensor of its own: one made for inference could not be trained on
    return torch.from_numpy(_vectors(texts))


# training asks for the same catalogue in every step
@lru_cache(maxsize=4)
def _vectors(texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
    vectors = np.zeros((len(texts), TEXT_DIM), dtype=np.float32)
    is_known = np.array([bool(text) for text in texts], dtype=bool)
    if is_known.any():
        vectors[is_known] = _encoder().embed([text for text in texts if text])
    # a text of which no piece is known stays zero
    vectors /= np.fmax(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return vectors
