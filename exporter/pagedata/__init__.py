"""Data of the web pages, prepared after each poll: assets as columns, and answers of the history."""
