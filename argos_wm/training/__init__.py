"""The training loop that every stage shares, and one module a stage."""
