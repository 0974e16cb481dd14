"""Pictures of the dashboards for the documentation, drawn from what a real Prometheus answers."""
