"""What the dashboards are made from: each dashboard is a list of panels, each panel a question to Prometheus.

``python -m grafana.source`` writes grafana/dashboards/. Nothing here is part of the program that is installed.
"""
