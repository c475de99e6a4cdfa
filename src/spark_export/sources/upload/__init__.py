"""Rows in a request's body that is a file of its own: NDJSON, CSV, an Arrow stream, Parquet."""
