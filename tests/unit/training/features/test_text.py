import sys

import pytest
import torch

from training.errors import ConfigError
from training.features import text
from training.features.text import TEXT_DIM, text_vectors


@pytest.fixture(autouse=True)
def _forget() -> None:
    text._encoder.cache_clear()
    text._vectors.cache_clear()


def test_texts_that_say_alike_lie_closer() -> None:
    pytest.importorskip("wordllama")

    detective, police, bakers = text_vectors(
        (
            "A detective hunts a killer in a rainy city",
            "Police search for a murderer",
            "Two friends bake cakes for a wedding",
        )
    )

    assert float(detective @ police) > float(detective @ bakers) + 0.2
    assert abs(float(detective.norm()) - 1.0) < 1e-5


def test_without_a_text_there_is_no_encoder_and_no_direction() -> None:
    vectors = text_vectors((None, ""))

    assert torch.equal(vectors, torch.zeros(2, TEXT_DIM))


def test_what_inference_read_can_be_trained_on() -> None:
    layer = torch.nn.Linear(TEXT_DIM, 1)
    with torch.inference_mode():
        layer(text_vectors((None,)))

    layer(text_vectors((None,))).sum().backward()

    assert layer.weight.grad is not None


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)

    with pytest.raises(ConfigError, match=r"marquee\[text\]"):
        text_vectors(("a text",))
