"""Several exporters on one database: what each should hold, and what becomes of numbers when replicas fail."""
