import dagster as dg
import pyarrow as pa

from assets.presentation import column_schema, counts, interval, links, table


def test_a_table_has_a_row_per_mapping_and_short_numbers() -> None:
    shown = table([{"gate": "coverage", "figure": 0.99912345, "note": None, "is it": True}])
    assert [one.data for one in shown.records] == [
        {"gate": "coverage", "figure": "0.9991", "note": "–", "is it": "yes"}
    ]
    assert [column.name for column in shown.schema.columns] == ["gate", "figure", "note", "is it"]


def test_a_table_without_rows_is_one_too() -> None:
    assert table([]).records == []


def test_counts_are_shown_largest_first_with_their_share() -> None:
    shown = counts({"play": 250, "impression": 750}, of="action", unit="events")
    assert [one.data for one in shown.records] == [
        {"action": "impression", "events": "750", "share": "75.0%"},
        {"action": "play", "events": "250", "share": "25.0%"},
    ]


def test_links_stand_on_one_line() -> None:
    assert links([("a", "http://x/a"), ("b", "http://x/b")]).value == (
        "[a](http://x/a) · [b](http://x/b)"
    )


def test_an_interval_is_read_beside_its_figure() -> None:
    assert interval(0.2812, 0.262, 0.3009) == "0.281 [0.262, 0.301]"
    assert interval(-0.01, -0.02, 0.005, is_signed=True) == "-0.010 [-0.020, +0.005]"


def test_columns_say_their_type_and_whether_they_may_be_null() -> None:
    schema = pa.schema([pa.field("id", pa.string(), nullable=False), ("at", pa.date32())])
    shown = column_schema(schema, {"id": "What it is known by."})
    assert shown.columns == [
        dg.TableColumn(
            "id",
            "string",
            description="What it is known by.",
            constraints=dg.TableColumnConstraints(nullable=False),
        ),
        dg.TableColumn("at", "date32[day]"),
    ]
