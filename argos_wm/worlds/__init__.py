"""Small worlds in which a planner's every answer can be checked: batched, exact, drawn in milliseconds."""
