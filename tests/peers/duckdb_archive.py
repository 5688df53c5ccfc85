"""Sums an archive with DuckDB, each event once, by the partitions that the folders name.

    duckdb_archive.py FOLDER
"""

import json
import sys

import duckdb

QUERY = """
select date::varchar, hour::integer, event_type, count(*), sum(quantity)::integer
from (
    select distinct on (id, source) date, hour, event_type, (data->>'quantity')::integer as quantity
    from read_json(?, format = 'newline_delimited', hive_partitioning = true, maximum_object_size = 33554432,
                   columns = {id: 'VARCHAR', source: 'VARCHAR', time: 'TIMESTAMP', data: 'JSON'})
)
group by all order by all
"""

print(json.dumps(duckdb.execute(QUERY, [f"{sys.argv[1]}/archive/**/*.jsonl.zst"]).fetchall()))
