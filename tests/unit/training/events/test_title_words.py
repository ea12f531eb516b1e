import numpy as np
import pytest

from training.events.title_words import GENRES, compose_sequel, compose_synopsis, compose_title


@pytest.mark.parametrize("kind", ["movie", "series", "game", "live"])
@pytest.mark.parametrize("genre", GENRES)
def test_titles_are_short_and_capitalised(kind: str, genre: str) -> None:
    rng = np.random.default_rng(0)

    for _ in range(10):
        title = compose_title(kind, genre, rng)
        assert title[0].isupper()
        assert 1 < len(title.split()) <= 7
        assert "{" not in title


def test_a_sequel_carries_its_number() -> None:
    assert compose_sequel("Cold Harbour", 3, np.random.default_rng(0)).startswith("Cold Harbour 3")


@pytest.mark.parametrize("genre", GENRES)
def test_a_synopsis_is_one_sentence(genre: str) -> None:
    synopsis = compose_synopsis(genre, np.random.default_rng(0))

    assert synopsis.startswith("In ")
    assert synopsis.count(".") == 1
    assert synopsis.endswith(".")
