"""A run's report: one HTML file without references to anything outside it."""
