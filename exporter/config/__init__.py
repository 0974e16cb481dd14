"""config.yaml, or the environment alone, as typed and frozen settings; every error with its path in the file."""

from exporter.config.loading import NO_FLAGS, ConfigError, StateFlags, load
from exporter.config.model import ALL, AgentConfig, Api, Config, Discovery, Log, Metrics, Polling, Secret, Shard, State

__all__ = [
    "ALL",
    "NO_FLAGS",
    "AgentConfig",
    "Api",
    "Config",
    "ConfigError",
    "Discovery",
    "Log",
    "Metrics",
    "Polling",
    "Secret",
    "Shard",
    "State",
    "StateFlags",
    "load",
]
