"""How the service is run and watched: image health, Prometheus, Grafana."""
