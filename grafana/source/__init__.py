"""Sources of the dashboards: each is a list of panels, each panel a query to Prometheus.

``python -m grafana.source`` writes grafana/dashboards/. Not part of the installed package.
"""
