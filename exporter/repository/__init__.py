"""Tableau's PostgreSQL repository, as a source of rows."""
