"""Terms of the latent-tracking MDP, beside Isaac Lab's own."""
