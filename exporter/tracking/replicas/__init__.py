"""Several exporters that share the agents and the requests of one account through a database."""
