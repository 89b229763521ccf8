"""Pictures and videos of what the planner wants and the controller does, for people."""
