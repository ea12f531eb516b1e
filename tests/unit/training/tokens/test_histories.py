from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.contracts import UNKNOWN_INSTANT, Histories
from training.errors import ContractError, NoDataError
from training.events.source import CATALOGUE_SCHEMA, PREFIX_SCHEMA
from training.tokens.config import TokenizerConfig, json_bytes
from training.tokens.histories import read_histories
from training.tokens.outcomes import completion
from training.tokens.partial import bucket_file, read_config, read_schema
from training.tokens.storage import write_tokens

Build = Callable[..., pa.Table]
MIDNIGHT = datetime(2026, 2, 2, tzinfo=UTC)
CONFIG = TokenizerConfig(merge_gap_s=600, num_buckets=2)
DAY = timedelta(days=1)


def minutes(value: float) -> datetime:
    return MIDNIGHT + timedelta(minutes=value)


@pytest.fixture
def write_day(
    tmp_path: Path, table: Build, write_valid: Callable[..., Path]
) -> Callable[..., Path]:
    def write(name: str, rows: list[dict[str, Any]], config: TokenizerConfig = CONFIG) -> Path:
        folder = tmp_path / f"tokens-{name}"
        folder.mkdir()
        write_tokens(write_valid(table(rows), tmp_path / f"valid-{name}"), config, folder)
        return folder

    return write


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    folder = tmp_path / "prefix"
    folder.mkdir()
    _write_prefix(folder, [
        {"user_id": "cy", "item_ids": ["C"], "actions": ["play"], "before": MIDNIGHT},
        {"user_id": "ana", "item_ids": ["Z", "Z", "S", "B"],
         "actions": ["play", "play", "shown", "dislike"], "before": MIDNIGHT - DAY},
        {"user_id": "dan", "item_ids": ["S"], "actions": ["shown"], "before": MIDNIGHT - DAY},
    ])  # fmt: skip
    return folder


def _write_prefix(folder: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=PREFIX_SCHEMA), folder / "prefix.parquet")


def items_of(histories: Histories) -> dict[str, list[str]]:
    return {
        user: [histories.items[code] for code in histories.item_code[begin:end]]
        for user, begin, end in zip(
            histories.user_ids, histories.offsets[:-1], histories.offsets[1:], strict=True
        )
    }


@pytest.fixture
def night(write_day: Callable[..., Path]) -> list[Path]:
    """A session of ana's on A across midnight, with B before and after; bo only later."""
    before = write_day(
        "before",
        [
            {"occurred_at": minutes(-30), "item_id": "B", "device": "phone", "position": 1.0},
            {"occurred_at": minutes(-5), "device": "tv", "watch_ms": 10},
        ],
    )
    after = write_day(
        "after",
        [
            {"occurred_at": minutes(5), "device": "watch", "watch_ms": 20},
            {"occurred_at": minutes(9), "item_id": "B", "position": 4.0},
            {"occurred_at": minutes(9), "user_id": "bo", "item_id": "C"},
        ],
    )
    return [before, after]


def test_a_session_across_midnight_is_one_token(night: list[Path]) -> None:
    histories = read_histories(night, as_of=MIDNIGHT + DAY)

    assert items_of(histories) == {"ana": ["B", "A", "B"], "bo": ["C"]}
    assert histories.offsets.tolist() == [0, 3, 4]
    assert histories.first_at[1] == minutes(-5).timestamp() * 1e6
    assert histories.last_at[1] == minutes(5).timestamp() * 1e6
    assert histories.duration_ms.tolist() == [0, 30, 0, 0]
    assert histories.num_events.tolist() == [1, 2, 1, 1]
    assert histories.action_counts.tolist() == [[1, 0, 0], [2, 0, 0], [1, 0, 0], [1, 0, 0]]
    np.testing.assert_array_equal(histories.request_numbers["position"], [1, np.nan, 4, np.nan])


def test_a_session_across_midnight_is_completed_by_both_of_its_days(night: list[Path]) -> None:
    titles = [{"item_id": "A", "kind": "film", "runtime_s": 1, "valid_from": MIDNIGHT - DAY}]
    catalogue = pa.Table.from_pylist(titles, schema=CATALOGUE_SCHEMA)

    whole, one_day = (read_histories(night, as_of=MIDNIGHT + days * DAY) for days in (1, 0))

    assert completion(whole, catalogue)[1] == 0.03
    assert completion(one_day, catalogue)[1] == 0.01


def test_dictionaries_hold_what_tokens_use_and_nothing_else(night: list[Path]) -> None:
    values, codes = read_histories(night, as_of=MIDNIGHT + DAY).request_categories["device"]

    assert values == ("phone", "tv")  # "watch" is of a later event of the joined token
    assert codes.tolist() == [0, 1, -1, -1]


def test_nothing_at_or_after_as_of_is_seen(night: list[Path]) -> None:
    histories = read_histories(night, as_of=MIDNIGHT)

    assert items_of(histories) == {"ana": ["B", "A"]}
    assert histories.items == ("A", "B")
    assert histories.last_at.tolist() == [minutes(m).timestamp() * 1e6 for m in (-30, -5)]


def test_the_order_of_folders_does_not_matter(night: list[Path]) -> None:
    assert items_of(read_histories(night[::-1], as_of=MIDNIGHT + DAY)) == {
        "ana": ["B", "A", "B"],
        "bo": ["C"],
    }


def test_before_the_first_day_there_are_no_histories(night: list[Path]) -> None:
    histories = read_histories(night, as_of=MIDNIGHT - 9 * DAY)

    assert (histories.num_users, histories.num_tokens, histories.items) == (0, 0, ())
    assert histories.action_counts.shape == (0, 3)


def test_a_subset_of_users_may_name_users_without_tokens(night: list[Path]) -> None:
    def read(users: list[str]) -> dict[str, list[str]]:
        return items_of(read_histories(night, as_of=MIDNIGHT + DAY, users=users))

    assert read(["bo", "nobody"]) == {"bo": ["C"]}
    assert read([]) == {}


def test_a_prefix_comes_first_and_merges_with_nothing(night: list[Path], prefix: Path) -> None:
    histories = read_histories(night, prefix_folder=prefix, as_of=MIDNIGHT + DAY)

    assert items_of(histories) == {
        "ana": ["Z", "Z", "B", "B", "A", "B"],
        "bo": ["C"],
        "cy": ["C"],
    }
    assert histories.first_at[:3].tolist() == [UNKNOWN_INSTANT] * 3
    assert (histories.first_at[3:6] > 0).all()
    assert histories.action_counts[:3].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert histories.request_categories["device"][1][:3].tolist() == [-1, -1, -1]
    assert np.isnan(histories.request_numbers["position"][:3]).all()


def test_a_prefix_that_ends_after_as_of_is_not_seen(night: list[Path], prefix: Path) -> None:
    histories = read_histories(night, prefix_folder=prefix, as_of=MIDNIGHT - DAY)

    assert items_of(histories) == {"ana": ["Z", "Z", "B"]}


def test_a_subset_of_users_holds_for_the_prefix(night: list[Path], prefix: Path) -> None:
    histories = read_histories(night, prefix_folder=prefix, as_of=MIDNIGHT, users=["cy"])

    assert items_of(histories) == {"cy": ["C"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"user_id": "cy"}, "repeats"),
        ({"item_ids": ["A", "B"]}, "one per item"),
        ({"actions": ["stare"]}, "'stare' is not in the schema"),
    ],
)
def test_a_prefix_that_breaks_its_contract_is_refused(
    row: dict[str, Any], message: str, night: list[Path], prefix: Path
) -> None:
    good = {"user_id": "cy", "item_ids": ["C"], "actions": ["play"], "before": MIDNIGHT}
    _write_prefix(prefix, [good, {**good, "user_id": "dan", **row}])

    with pytest.raises(ContractError, match=message):
        read_histories(night, prefix_folder=prefix, as_of=MIDNIGHT)


@pytest.mark.parametrize(
    ("as_of", "message"),
    [(minutes(1), "start of a UTC day"), (datetime(2026, 2, 2), "aware")],  # noqa: DTZ001
)
def test_an_instant_that_days_cannot_be_cut_at_is_refused(
    as_of: datetime, message: str, night: list[Path]
) -> None:
    with pytest.raises(ContractError, match=message):
        read_histories(night, as_of=as_of)


def test_folders_of_two_tokenizers_are_refused(
    night: list[Path], write_day: Callable[..., Path]
) -> None:
    other = write_day("other", [], TokenizerConfig(merge_gap_s=60, num_buckets=2))

    with pytest.raises(
        ContractError, match=r"tokens-before and .*tokens-other differ in tokenizer"
    ):
        read_histories([*night, other], as_of=MIDNIGHT)


def test_folders_of_two_schemas_are_refused(night: list[Path]) -> None:
    other = replace(read_schema(night[1]), name="other")
    (night[1] / "schema.json").write_bytes(json_bytes(other.to_json()))

    with pytest.raises(ContractError, match=r"tokens-before and .*tokens-after differ in schema"):
        read_histories(night, as_of=MIDNIGHT)


def test_a_day_is_never_counted_twice(night: list[Path], write_day: Callable[..., Path]) -> None:
    again = write_day("again", [{"occurred_at": minutes(-1)}])

    with pytest.raises(ContractError, match=r"both hold 2026-02-01"):
        read_histories([*night, again], as_of=MIDNIGHT)


def test_days_without_events_are_no_days(night: list[Path], write_day: Callable[..., Path]) -> None:
    empty = [write_day("empty-1", []), write_day("empty-2", [])]

    assert read_histories([*empty, *night], as_of=MIDNIGHT).num_tokens == 2


def test_no_folder_is_no_data() -> None:
    with pytest.raises(NoDataError, match="at least one folder"):
        read_histories([], as_of=MIDNIGHT)


def test_the_buckets_together_are_everybody(night: list[Path], prefix: Path) -> None:
    after = {"prefix_folder": prefix, "as_of": MIDNIGHT + 2 * DAY}

    parts = [items_of(read_histories(night, **after, bucket=bucket)) for bucket in range(2)]

    assert parts[0].keys().isdisjoint(parts[1])
    assert {**parts[0], **parts[1]} == items_of(read_histories(night, **after))


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_bit_is_named_or_changes_values_alone(
    write_day: Callable[..., Path], seed: int
) -> None:
    folder = write_day("1", [{"occurred_at": minutes(-n), "item_id": f"i{n}"} for n in range(1, 9)])
    paths = [folder / bucket_file(bucket) for bucket in range(CONFIG.num_buckets)]
    path = max(paths, key=lambda one: one.stat().st_size)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))

    try:
        read_histories([folder], as_of=MIDNIGHT)
    except ContractError as error:
        assert path.name in str(error)  # noqa: PT017 - most flips hit a value or nothing at all


@pytest.mark.parametrize("name", ["tokenizer.json", "schema.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"{}"])
def test_a_damaged_description_is_named(
    write_day: Callable[..., Path], name: str, content: bytes
) -> None:
    folder = write_day("1", [{"occurred_at": minutes(-1)}])
    (folder / name).write_bytes(content)

    with pytest.raises(ContractError, match=rf"{name}: damaged .*: restore it from a copy"):
        read_config(folder), read_schema(folder)
