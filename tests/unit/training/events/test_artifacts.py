import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lake.digests import digest_folder
from lake.lake import Written
from training.errors import ContractError, NoDataError, SourceError
from training.events.artifacts import (
    LATE_FILE,
    NUM_BUCKETS,
    Lateness,
    read_catalogue,
    read_events,
    read_prefix,
    write_catalogue,
    write_prefix,
    write_quarantined,
    write_raw,
    write_valid,
)
from training.events.parts import part_file, write_parquet, write_parts
from training.events.simulated import SimulatedWorld
from training.events.source import PREFIX_SCHEMA
from training.events.world import WorldParameters

DAY = date(2026, 1, 13)
AS_OF = datetime(2026, 1, 14, tzinfo=UTC)


def made(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def world() -> SimulatedWorld:
    return SimulatedWorld(WorldParameters(num_users=400, num_titles=200, num_days=4))


@pytest.fixture
def folders(world: SimulatedWorld, tmp_path: Path) -> Path:
    write_raw(world, DAY, AS_OF, made(tmp_path, "raw"))
    write_catalogue(world, AS_OF, made(tmp_path, "catalogue"))
    return tmp_path


def test_a_day_goes_from_raw_to_valid_and_quarantined(world: SimulatedWorld, folders: Path) -> None:
    raw, catalogue = folders / "raw", folders / "catalogue"

    valid = write_valid(raw, catalogue, DAY, made(folders, "valid"))
    quarantined = write_quarantined(raw, catalogue, DAY, made(folders, "quarantined"))

    schema, events = read_events(folders / "valid")
    _, arrived = read_events(raw)
    _, kept_aside = read_events(folders / "quarantined")
    assert schema == world.schema
    assert valid.rows == events.num_rows == valid.figures["rows"]
    assert quarantined.rows == kept_aside.num_rows == sum(quarantined.figures["by_rule"].values())
    assert valid.figures["quarantined"] == quarantined.rows > 0
    assert valid.figures["duplicates"] > 0
    assert sum(valid.figures["by_action"].values()) == valid.rows
    assert valid.rows + quarantined.rows + valid.figures["duplicates"] == arrived.num_rows
    assert kept_aside.schema.names == [*schema.arrow_schema.names, "rule"]


def test_writing_twice_gives_equal_bytes(world: SimulatedWorld, folders: Path) -> None:
    write_raw(SimulatedWorld(world.parameters), DAY, AS_OF, made(folders, "raw again"))
    write_catalogue(world, AS_OF, made(folders, "catalogue again"))
    for name in ("", " again"):
        paths = (folders / f"raw{name}", folders / f"catalogue{name}", DAY)
        write_valid(*paths, made(folders, f"valid{name}"))
        write_quarantined(*paths, made(folders, f"quarantined{name}"))

    for name in ("raw", "catalogue", "valid", "quarantined"):
        assert digest_folder(folders / name) == digest_folder(folders / f"{name} again")


def test_the_catalogue_is_read_back(world: SimulatedWorld, folders: Path) -> None:
    assert read_catalogue(folders / "catalogue").equals(world.catalogue(as_of=AS_OF))


def test_an_empty_prefix_is_written_and_read_back(world: SimulatedWorld, tmp_path: Path) -> None:
    written = write_prefix(world, tmp_path)

    assert written.rows == 0
    assert written.figures == {"users": 0, "items": 0, "erased": 0}
    assert read_prefix(tmp_path).equals(PREFIX_SCHEMA.empty_table())


def test_a_day_before_its_first_arrival_has_no_data(world: SimulatedWorld, tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="no events of 2026-01-13 arrived before 2026-01-12"):
        write_raw(world, DAY, AS_OF - timedelta(days=2), tmp_path)


def test_a_day_whose_early_users_were_all_erased_is_empty(
    world: SimulatedWorld, tmp_path: Path
) -> None:
    rows = world.read_day(DAY, received_before=AS_OF)
    rows = rows.filter(pc.is_valid(rows["user_id"]))
    cut = pc.min(rows["received_at"]).as_py() + timedelta(microseconds=1)
    early = world.read_day(DAY, received_before=cut)

    written = write_raw(world, DAY, cut, tmp_path, erased=set(early["user_id"].to_pylist()))

    assert written.rows == 0
    assert written.figures["erased"] >= early.num_rows > 0
    assert written.figures["too_late"] > 0


def test_what_arrives_late_is_taken_in_by_the_cut_and_counted(
    world: SimulatedWorld, tmp_path: Path
) -> None:
    lateness = Lateness(complete_at=AS_OF, final_at=AS_OF + timedelta(hours=30))

    def written(hours: int) -> Written:
        cut = AS_OF + timedelta(hours=hours)
        return write_raw(world, DAY, cut, made(tmp_path, f"{hours} h"), lateness=lateness)

    early, final = written(0), written(30)

    late, too_late = early.figures["late"], early.figures["too_late"]
    assert 0 < too_late < late
    assert (final.figures["late"], final.figures["too_late"]) == (late, too_late)
    assert (early.figures["late_taken"], final.figures["late_taken"]) == (0, late - too_late)
    assert final.rows - early.rows == late - too_late


def test_what_arrives_too_late_lies_beside_the_day_and_is_not_read(
    world: SimulatedWorld, tmp_path: Path
) -> None:
    written = write_raw(world, DAY, AS_OF, tmp_path)

    schema, taken = read_events(tmp_path)
    kept = pq.read_table(tmp_path / LATE_FILE)
    assert kept.schema.equals(schema.arrow_schema)
    assert kept.num_rows == written.figures["too_late"] > 0
    assert pc.min(kept["received_at"]).as_py() >= AS_OF > pc.max(taken["received_at"]).as_py()


def test_a_day_of_nonsense_alone_is_refused_with_the_rules_it_broke(folders: Path) -> None:
    _, raw = read_events(folders / "raw")
    nobody = raw.set_column(1, "user_id", pa.nulls(raw.num_rows, pa.string()))
    write_parts(nobody, folders / "raw", num_buckets=NUM_BUCKETS)

    with pytest.raises(NoDataError, match=r"no event satisfies every rule; broken: \{'user_id"):
        write_valid(folders / "raw", folders / "catalogue", DAY, made(folders, "valid"))


def test_a_changed_column_is_named(folders: Path) -> None:
    _, raw = read_events(folders / "raw")
    renamed = raw.rename_columns(["item" if n == "item_id" else n for n in raw.schema.names])
    write_parquet(renamed, folders / "raw" / part_file(0))

    with pytest.raises(ContractError, match="column 'item_id' is missing"):
        write_valid(folders / "raw", folders / "catalogue", DAY, made(folders, "valid"))


def test_a_changed_catalogue_is_refused(folders: Path) -> None:
    table = read_catalogue(folders / "catalogue").drop_columns(["maturity"])
    write_parquet(table, folders / "catalogue" / "catalogue.parquet")

    with pytest.raises(ContractError, match="want columns item_id"):
        read_catalogue(folders / "catalogue")


def test_a_missing_file_is_named(folders: Path) -> None:
    shutil.rmtree(folders / "raw")

    with pytest.raises(SourceError, match=r"schema\.json is missing"):
        read_events(folders / "raw")


def test_chunks_and_schema_metadata_leave_no_trace_in_the_file(tmp_path: Path) -> None:
    whole = pa.table({"a": [1, 2, 3]})
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])

    write_parquet(whole, tmp_path / "whole")
    write_parquet(pieces.replace_schema_metadata({"written": "today"}), tmp_path / "pieces")

    assert (tmp_path / "whole").read_bytes() == (tmp_path / "pieces").read_bytes()
    assert pq.read_table(tmp_path / "whole").equals(whole)


def test_only_columns_whose_values_repeat_are_stored_with_a_dictionary(folders: Path) -> None:
    with pq.ParquetFile(folders / "raw" / part_file(0)) as file:
        group = file.metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]

    has_dictionary = {one.path_in_schema: one.has_dictionary_page for one in columns}

    assert not has_dictionary["event_id"]
    assert not has_dictionary["occurred_at"]
    assert has_dictionary["user_id"]
    assert has_dictionary["action"]


def test_lists_of_text_are_stored_with_a_dictionary(tmp_path: Path) -> None:
    table = pa.table({"genres": pa.array([["drama"], None, ["drama", "war"]])})

    write_parquet(table, tmp_path / "x.parquet")

    with pq.ParquetFile(tmp_path / "x.parquet") as file:
        assert file.metadata.row_group(0).column(0).has_dictionary_page
        assert file.read().column("genres").to_pylist() == table["genres"].to_pylist()


def test_rows_of_erased_users_are_not_taken_in(world: SimulatedWorld, folders: Path) -> None:
    _, arrived = read_events(folders / "raw")
    gone = sorted(set(arrived["user_id"].to_pylist()) - {None, ""})[:5]

    written = write_raw(world, DAY, AS_OF, made(folders, "without"), erased=gone)

    _, left = read_events(folders / "without")
    want = [row for row in arrived.to_pylist() if row["user_id"] not in gone]
    assert left.to_pylist() == want
    assert written.rows == len(want) == written.figures["rows"]
    everybody = write_raw(world, DAY, AS_OF, made(folders, "everybody"))
    assert everybody.figures["erased"] == 0
    late = everybody.figures["late"] - written.figures["late"]
    assert written.figures["erased"] == everybody.rows - written.rows + late > 0


def test_a_day_of_erased_users_alone_is_empty(world: SimulatedWorld, tmp_path: Path) -> None:
    class Everyone:
        def __contains__(self, user: object) -> bool:
            return True

    class NamedAlone(SimulatedWorld):
        def read_day(self, day: date, *, received_before: datetime) -> pa.Table:
            rows = super().read_day(day, received_before=received_before)
            return rows.filter(rows["user_id"].is_valid())

    named = NamedAlone(world.parameters)
    assert write_raw(named, DAY, AS_OF, tmp_path, erased=Everyone()).rows == 0


def test_prefixes_of_erased_users_are_not_taken_in(world: SimulatedWorld, tmp_path: Path) -> None:
    class WithPrefix(SimulatedWorld):
        def history_prefix(self) -> pa.Table:
            return pa.table(
                [["ann", "bob"], [["a", "b"], ["c"]], [["play", "play"], ["play"]], [AS_OF, AS_OF]],
                schema=PREFIX_SCHEMA,
            )

    written = write_prefix(WithPrefix(world.parameters), tmp_path, erased={"ann"})

    assert read_prefix(tmp_path)["user_id"].to_pylist() == ["bob"]
    assert written.figures == {"users": 1, "items": 1, "erased": 1}
