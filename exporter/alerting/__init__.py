"""Direct notifications: alerts, and the Alertmanagers that they are told to."""
