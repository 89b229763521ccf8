"""What a recording of a robot shows afterwards: its torques played into MuJoCo, a viewer, and curves."""
