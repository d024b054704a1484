"""Polling: when to read what, and what to do with it."""
