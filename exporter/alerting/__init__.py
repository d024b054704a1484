"""The agent's own alerts: rules, their evaluation, and notifications to Alertmanagers."""
