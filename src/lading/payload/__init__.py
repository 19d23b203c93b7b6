"""The payload log: what was asked and what was answered, as Parquet files."""
