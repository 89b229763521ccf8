"""Demonstrations as the planner reads them: episodes, caches of latents, windows."""
