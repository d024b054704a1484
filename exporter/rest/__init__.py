"""Tableau's REST and Metadata APIs as a source: one inventory of each site at each poll."""
