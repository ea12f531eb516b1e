"""How many rows a group of a Parquet file holds.

Whoever rewrites a file without some users' rows groups the others as its writer would have: the
bytes are then those of a file that never had these users.
"""

ROW_GROUP_ROWS = 1 << 17
