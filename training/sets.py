"""Columns of sets, which arrive as lists in any order and with repeats."""

import polars as pl


def sorted_sets(lists: pl.Series) -> pl.Series:
    """Return each list's distinct members, sorted, null first; null stays null.

    polars 2.1 takes 20 µs to sort one list of texts, so equal lists are sorted once and members as
    one column.
    """
    rows = pl.DataFrame({"members": lists}).with_row_index("row")
    distinct = rows.group_by("members").agg("row").with_row_index("set")
    is_empty = (pl.col("members").list.len() == 0).fill_null(value=True)
    members = (
        distinct.filter(~is_empty)
        .select("set", "members")
        .explode("members")
        .unique()
        .sort("set", "members")
        .group_by("set", maintain_order=True)
        .agg("members")
    )
    sorted_rows = pl.concat(
        [
            distinct.filter(is_empty).select("row", "members"),
            distinct.drop("members").join(members, on="set").select("row", "members"),
        ]
    )
    return sorted_rows.explode("row").sort("row")["members"].alias(lists.name)
