"""The history: one DuckDB file that keeps what Tableau throws away."""
