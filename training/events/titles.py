"""The simulated catalogue: what launches when, what it is like, which part follows which."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from training.events.source import CATALOGUE_SCHEMA
from training.events.title_words import (
    GENRES,
    compose_sequel,
    compose_synopsis,
    compose_title,
)
from training.events.world import (
    DAY_US,
    MARKETS,
    Flags,
    Floats,
    Ints,
    WorldParameters,
    start_us,
    stream,
)

KINDS = ("movie", "series", "game", "live")
MOVIE, SERIES, GAME, LIVE = range(4)
_KIND_SHARES = (0.50, 0.36, 0.09, 0.05)
# Genres that a kind has, the main one first; the rest of the list is shared by movies and series.
_KIND_GENRES = {
    MOVIE: tuple(g for g in GENRES if g not in {"reality", "puzzle"}),
    SERIES: tuple(g for g in GENRES if g != "puzzle"),
    GAME: ("puzzle", "adventure", "sport", "action", "family"),
    LIVE: ("sport", "music", "comedy", "reality"),
}
_KIDS_GENRES = ("animation", "family")
MATURITIES = ("all", "7+", "13+", "16+", "18+")
_LANGUAGES = ("en", "ko", "ja", "es", "hi", "fr", "de", "pt")
_LANGUAGE_SHARES = (0.46, 0.10, 0.09, 0.11, 0.08, 0.06, 0.05, 0.05)
# seconds: a movie, one episode, nothing for a game, a broadcast
_RUNTIME_S = {MOVIE: (4_800, 9_000), SERIES: (1_300, 3_600), LIVE: (3_600, 10_800)}
FACTOR_DIM = 16
"""Width of the latent space of taste."""
FOREVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, kw_only=True)
class Titles:
    """Titles of the world in order of launch; every array has one entry (or row) per title."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    kind: Ints
    genres: tuple[tuple[int, ...], ...]
    language: tuple[str, ...]
    country: tuple[str, ...]
    released: tuple[date, ...]
    runtime_s: Ints
    """0: has none."""
    maturity: Ints
    available_from: Ints
    """µs since 1970 UTC."""
    available_to: Ints
    """µs since 1970 UTC, exclusive; ``FOREVER`` where the title stays."""
    synopses: tuple[tuple[str, ...], ...]
    rewritten_at: Ints
    """Instant from which the second synopsis holds; ``FOREVER`` where there is one only."""
    popularity: Floats
    """Log weight, heavy-tailed."""
    factors: Floats
    """float[T, FACTOR_DIM]: what tastes are compared with."""
    sequel: Ints
    """The title that follows this one, or -1."""

    @property
    def is_kids(self) -> Flags:
        """Titles that the kids canvas may show."""
        return self.maturity <= MATURITIES.index("7+")


def genre_factors(seed: int) -> Floats:
    """Return one unit vector per genre."""
    drawn = stream(seed, "genres").normal(size=(len(GENRES), FACTOR_DIM))
    unit: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def launch_days(parameters: WorldParameters) -> list[date]:
    """Return the weekly launch days within the log."""
    days = (parameters.first_day + timedelta(days=n) for n in range(parameters.num_days))
    return [day for day in days if day.weekday() == parameters.launch_weekday]


def draw_titles(parameters: WorldParameters) -> Titles:
    """Draw the catalogue."""
    rng = stream(parameters.seed, "titles")
    count = parameters.num_titles
    kind = rng.choice(len(KINDS), count, p=_KIND_SHARES)
    launched, order = _launches(parameters, kind, rng)
    kind, launched = kind[order], launched[order]
    genres = [_draw_genres(int(k), rng) for k in kind]
    language = rng.choice(_LANGUAGES, count, p=_LANGUAGE_SHARES)
    maturity = np.array([_draw_maturity(g, rng) for g in genres])
    factors = _draw_factors(parameters.seed, genres, rng)
    names = _distinct(
        [compose_title(KINDS[k], GENRES[g[0]], rng) for k, g in zip(kind, genres, strict=True)]
    )
    sequel = np.full(count, -1, dtype=np.int64)
    for chain in _franchises(kind, rng):
        first = chain[0]
        for part, (before, title) in enumerate(pairwise(chain), start=2):
            sequel[before] = title
            genres[title], language[title] = genres[first], language[first]
            maturity[title] = maturity[first]
            names[title] = compose_sequel(names[first], part, rng)
            alike = 0.85 * factors[first] + 0.15 * factors[title]
            factors[title] = alike / np.linalg.norm(alike)
    rewritten = _rewrites(parameters, launched, rng)
    return Titles(
        ids=tuple(f"t{index:05d}" for index in range(count)),
        names=tuple(_distinct(names)),
        kind=kind,
        genres=tuple(genres),
        language=tuple(str(one) for one in language),
        country=tuple(_country_of(str(one), rng) for one in language),
        released=tuple(
            _draw_release(int(at), bool(old), rng)
            for at, old in zip(launched, rng.random(count) < 0.5, strict=True)
        ),
        runtime_s=np.array([_draw_runtime(int(k), rng) for k in kind]),
        maturity=maturity,
        available_from=launched,
        available_to=_departures(parameters, kind, launched, rng),
        synopses=tuple(
            tuple(compose_synopsis(GENRES[g[0]], rng) for _ in range(2)) for g in genres
        ),
        rewritten_at=rewritten,
        popularity=_draw_popularity(count, rng),
        factors=factors,
        sequel=sequel,
    )


def _launches(
    parameters: WorldParameters, kind: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Return each title's launch instant, and the order of launch."""
    weekly = [start_us(day) for day in launch_days(parameters)]
    per_week = round(parameters.weekly_launch_share * parameters.num_titles)
    week = np.full(len(kind), -1)
    for index in range(len(weekly)):
        week[index * per_week : (index + 1) * per_week] = index
    first = start_us(parameters.first_day)
    weeks_ago = np.ceil(rng.exponential(60.0, len(kind))).astype(np.int64)  # about a year
    anchor = first + ((parameters.launch_weekday - parameters.first_day.weekday()) % 7) * DAY_US
    launched = np.where(week >= 0, np.array([*weekly, 0])[week], anchor - weeks_ago * 7 * DAY_US)
    to_saturday = ((5 - parameters.launch_weekday) % 7) * DAY_US
    launched = np.where(kind == LIVE, launched + to_saturday, launched)
    return launched, np.argsort(launched, kind="stable")


def _departures(
    parameters: WorldParameters, kind: Ints, launched: Ints, rng: np.random.Generator
) -> Ints:
    """Some movies' licences end on a launch day of the log."""
    ends = [start_us(day) for day in launch_days(parameters)]
    leaves = (kind == MOVIE) & (rng.random(len(kind)) < 0.02) & bool(ends)
    end = rng.choice(ends or [FOREVER], len(kind))
    return np.where(leaves & (launched < end), end, FOREVER)


def _rewrites(parameters: WorldParameters, launched: Ints, rng: np.random.Generator) -> Ints:
    """Some titles get another synopsis at noon of some day of the log."""
    days = rng.integers(0, parameters.num_days, len(launched))
    at = start_us(parameters.first_day) + days * DAY_US + DAY_US // 2
    rewritten = (rng.random(len(launched)) < 0.03) & (launched < at)
    return np.where(rewritten, at, FOREVER)


def _draw_genres(kind: int, rng: np.random.Generator) -> tuple[int, ...]:
    allowed = _KIND_GENRES[kind]
    names = rng.choice(allowed, int(rng.integers(1, 4)), replace=False)
    return tuple(GENRES.index(str(name)) for name in names)


def _draw_maturity(genres: tuple[int, ...], rng: np.random.Generator) -> int:
    if GENRES[genres[0]] in _KIDS_GENRES:
        return int(rng.integers(0, 2))
    grim = any(GENRES[g] in {"horror", "crime", "thriller"} for g in genres)
    return int(rng.integers(3, 5) if grim else rng.integers(1, 4))


def _draw_factors(seed: int, genres: list[tuple[int, ...]], rng: np.random.Generator) -> Floats:
    """A title is the mean of its genres, the main one twice, and something of its own."""
    by_genre = genre_factors(seed)
    means = np.stack([by_genre[[g[0], *g]].mean(axis=0) for g in genres])
    own = rng.normal(size=means.shape) / np.sqrt(FACTOR_DIM)
    drawn = means + 0.5 * own
    unit: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _franchises(kind: Ints, rng: np.random.Generator) -> list[list[int]]:
    """Return chains of two to four titles of one kind, each in order of launch."""
    chains = []
    for of_kind in (MOVIE, SERIES):
        codes = np.flatnonzero(kind == of_kind)
        waiting = rng.permutation(codes)[: len(codes) * 2 // 5].tolist()
        while len(waiting) > 1:
            size = int(rng.integers(2, 5))
            chain, waiting = waiting[:size], waiting[size:]
            chains.append(sorted(chain))
    return chains


def _draw_popularity(count: int, rng: np.random.Generator) -> Floats:
    """Zipf-like log weights: rank to the power -0.8, in random order."""
    weights: Floats = -0.8 * np.log(1.0 + rng.permutation(count))
    weights -= weights.max()
    return weights


def _draw_runtime(kind: int, rng: np.random.Generator) -> int:
    low, high = _RUNTIME_S.get(kind, (0, 1))
    return int(rng.integers(low, high)) // 60 * 60


def _draw_release(launched: int, is_older: bool, rng: np.random.Generator) -> date:  # noqa: FBT001
    at = datetime.fromtimestamp(launched / 1e6, tz=UTC).date()
    return at - timedelta(days=int(rng.exponential(2_500))) if is_older else at


def _country_of(language: str, rng: np.random.Generator) -> str:
    return str(rng.choice([market[0] for market in MARKETS if market[2] == language]))


def _distinct(names: list[str]) -> list[str]:
    """Number repeated names, as remakes are told apart."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def catalogue_rows(titles: Titles, *, as_of_us: int) -> pa.Table:
    """Return the rows known before an instant; an end or a change that lies later is not known."""
    rows: list[dict[str, Any]] = []
    for title, launched in enumerate(titles.available_from.tolist()):
        if launched >= as_of_us:
            continue
        left, changed = int(titles.available_to[title]), int(titles.rewritten_at[title])
        end = left if left < as_of_us else None
        if changed < as_of_us and changed < left:
            rows.append(_row(titles, title, 0, launched, changed))
            rows.append(_row(titles, title, 1, changed, end))
        else:
            rows.append(_row(titles, title, 0, launched, end))
    return pa.Table.from_pylist(rows, schema=CATALOGUE_SCHEMA)


def _row(titles: Titles, title: int, text: int, begins: int, ends: int | None) -> dict[str, Any]:
    return {
        "item_id": titles.ids[title],
        "kind": KINDS[titles.kind[title]],
        "title": titles.names[title],
        "genres": [GENRES[genre] for genre in titles.genres[title]],
        "original_language": titles.language[title],
        "release_country": titles.country[title],
        "release_date": titles.released[title],
        "runtime_s": int(titles.runtime_s[title]) or None,
        "maturity": MATURITIES[titles.maturity[title]],
        "synopsis": titles.synopses[title][text],
        "valid_from": begins,
        "valid_to": ends,
    }
