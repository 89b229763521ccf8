"""The Franka's tasks."""

from tasks.registry import register

register("Franka", __name__, ("Reach", "Lift"))
