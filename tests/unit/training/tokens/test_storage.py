import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from lake.hashing import buckets
from training.errors import ContractError
from training.tokens.config import TokenizerConfig
from training.tokens.partial import bucket_file, day_of, open_bucket
from training.tokens.storage import write_tokens

Build = Callable[..., pa.Table]
Write = Callable[..., Path]
CONFIG = TokenizerConfig(merge_gap_s=600, num_buckets=2)
MORNING = datetime(2026, 2, 1, 8, tzinfo=UTC)


@pytest.fixture
def valid(tmp_path: Path, table: Build, write_valid: Write) -> Path:
    rows = [
        {"user_id": user, "item_id": item, "action": action, "device": device,
         "occurred_at": MORNING + timedelta(minutes=minutes)}
        for user, item, action, device, minutes in [
            ("ana", "B", "play", "tv", 0),
            ("ana", "B", "play", "phone", 5),
            ("ana", "A", "open", None, 6),
            ("ana", "A", "shown", None, 7),
            ("bo", "C", "dislike", "tv", 0),
        ]
    ]  # fmt: skip
    return write_valid(table(rows), tmp_path / "valid")


def test_a_file_holds_one_row_of_tokens_per_user_of_its_bucket(valid: Path, tmp_path: Path) -> None:
    write_tokens(valid, CONFIG, tmp_path)

    rows = {
        row["user_id"]: (bucket, row["tokens"])
        for bucket in range(CONFIG.num_buckets)
        for row in open_bucket(tmp_path / bucket_file(bucket)).to_pylist()
    }
    assert {user: bucket for user, (bucket, _) in rows.items()} == dict(
        zip(["ana", "bo"], buckets(["ana", "bo"], 2).tolist(), strict=True)
    )
    assert [
        (t["item_id"], t["num_events"], t["action_counts"], t["request_device"])
        for t in rows["ana"][1]
    ] == [("B", 2, [2, 0, 0], "tv"), ("A", 1, [0, 1, 0], None)]


def test_files_are_jagged_dictionaries_that_a_memory_map_reads_without_a_copy(
    valid: Path, tmp_path: Path
) -> None:
    write_tokens(valid, CONFIG, tmp_path)
    usual, counting = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())

    pa.set_memory_pool(counting)
    try:
        rows = [open_bucket(tmp_path / bucket_file(bucket)) for bucket in range(2)]
    finally:
        pa.set_memory_pool(usual)

    tokens = rows[0].schema.field("tokens").type
    assert pa.types.is_large_list(tokens)
    assert tokens.value_type.field("item_id").type == pa.dictionary(pa.int32(), pa.string())
    assert counting.max_memory() == 0
    assert {day_of(batch) for batch in rows} == {MORNING.date()}


def test_figures_say_what_became_of_the_events(valid: Path, tmp_path: Path) -> None:
    written = write_tokens(valid, CONFIG, tmp_path)

    assert written.rows == 3
    assert written.figures == {
        "events_in": 5,
        "events_kept": 4,
        "tokens_out": 3,
        "compression": 4 / 3,
        "users": 2,
        "mean_gap_s": (5 + 1) * 60 / 2,
        "action_share_kept": {"play": 0.4, "open": 0.2, "dislike": 0.2},
        "action_share_dropped": {"shown": 0.2},
    }
    json.dumps(written.figures)


def test_a_day_without_events_gives_empty_files(
    table: Build, write_valid: Write, tmp_path: Path
) -> None:
    written = write_tokens(write_valid(table([]), tmp_path / "valid"), CONFIG, tmp_path)

    assert (written.rows, written.figures["compression"], written.figures["mean_gap_s"]) == (
        0, None, None,
    )  # fmt: skip
    assert [open_bucket(tmp_path / bucket_file(b)).num_rows for b in range(2)] == [0, 0]
    assert day_of(open_bucket(tmp_path / bucket_file(0))) is None


def test_blocked_events_are_refused_by_the_names_of_what_failed(
    valid: Path, tmp_path: Path
) -> None:
    verdict = {"is_blocked": True, "failed": ["event ids are unique", "items are known"]}
    (valid / "validation.json").write_text(json.dumps(verdict))

    with pytest.raises(ContractError, match="event ids are unique, items are known"):
        write_tokens(valid, CONFIG, tmp_path)
    assert not list(tmp_path.glob("tokens-*"))


def test_events_that_passed_validation_become_tokens(valid: Path, tmp_path: Path) -> None:
    (valid / "validation.json").write_text(json.dumps({"is_blocked": False, "failed": ["rare"]}))

    assert write_tokens(valid, CONFIG, tmp_path).rows == 3


def test_events_of_two_days_are_refused(table: Build, write_valid: Write, tmp_path: Path) -> None:
    rows = [{"occurred_at": MORNING}, {"occurred_at": MORNING + timedelta(days=1)}]
    valid = write_valid(table(rows), tmp_path / "valid")

    with pytest.raises(ContractError, match="one UTC day, got 2026-02-01 to 2026-02-02"):
        write_tokens(valid, CONFIG, tmp_path)


def test_events_in_other_columns_are_refused(
    table: Build, write_valid: Write, tmp_path: Path
) -> None:
    events = table([{"occurred_at": MORNING}]).drop_columns(["device"])

    with pytest.raises(ContractError, match="columns"):
        write_tokens(write_valid(events, tmp_path / "valid"), CONFIG, tmp_path)


@pytest.mark.parametrize("damage", ["missing", "truncated", "other_format"])
def test_a_file_that_cannot_be_read_is_named(damage: str, valid: Path, tmp_path: Path) -> None:
    write_tokens(valid, CONFIG, tmp_path)
    path = tmp_path / bucket_file(0)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:40])
    else:
        rows = open_bucket(path).replace_schema_metadata({"format_version": "9", "day": ""})
        path.unlink()
        with pa.ipc.new_file(str(path), rows.schema) as writer:
            writer.write_batch(rows)

    with pytest.raises(ContractError, match=r"tokens-0000\.arrow"):
        open_bucket(path)


def test_bytes_do_not_depend_on_what_memory_held_before(
    table: Build, write_valid: Write, tmp_path: Path
) -> None:
    some = {"device": "tv", "tags": ["a"], "position": 1.0, "asked_at": MORNING, "watch_ms": 3}
    rows = [
        {**({} if number % 3 else some), "occurred_at": MORNING + timedelta(minutes=20 * number)}
        for number in range(21)
    ]
    valid = write_valid(table(rows), tmp_path / "valid")
    code = (
        "import sys; from pathlib import Path; from lake.digests import digest_folder;"
        "from training.tokens.config import TokenizerConfig;"
        "from training.tokens.storage import write_tokens;"
        "out = Path(sys.argv[2]); out.mkdir();"
        "write_tokens(Path(sys.argv[1]), TokenizerConfig(num_buckets=2), out);"
        "print(digest_folder(out))"
    )

    def digest(fill: int) -> bytes:
        # glibc fills every block it hands out with this byte
        memory = {"MALLOC_PERTURB_": str(fill), "ARROW_DEFAULT_MEMORY_POOL": "system"}
        return subprocess.run(
            [sys.executable, "-c", code, str(valid), str(tmp_path / str(fill))],
            env={**os.environ, **memory, "PYTHONHASHSEED": str(fill)},
            check=True,
            capture_output=True,
        ).stdout

    assert digest(1) == digest(202) != b""
