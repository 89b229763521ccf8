"""The trained policy on MuJoCo's own C engine, through a loop that shares no simulator code with training.

Nothing here imports Isaac Lab, Newton or Warp. What it shares with training is what a robot would carry, too: the
frozen encoder and planner, the exported controller, and the pictures' randomization, which knows no simulator.
"""
