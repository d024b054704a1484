"""The Activity Log of Tableau Cloud, over the Platform Data API of Tableau Cloud Manager."""
