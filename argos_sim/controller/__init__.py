"""The torque controller: its network, imitation and reinforcement learning."""
