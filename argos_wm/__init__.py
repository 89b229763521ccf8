"""The planner of ARGOS: encoders, flow-matching world model, plans. Imports no simulator."""
