"""Looking on while a policy runs: a terminal's view and a browser's, both from ``telemetry``."""
