"""Prints the rows that DuckDB finds.

    duckdb_archive.py QUERY
"""

import json
import sys

import duckdb

print(json.dumps(duckdb.execute(sys.argv[1]).fetchall()))
