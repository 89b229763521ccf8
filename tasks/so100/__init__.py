"""The SO-100's tasks."""

from tasks.registry import register

register("SO100", __name__, ("Reach", "Push", "Lift", "Stack"))
