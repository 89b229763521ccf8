"""The environment base of all tasks."""
