"""The trained policy on MuJoCo's own C engine, through a loop that shares no simulator code with training.

Nothing here imports Isaac Lab, Newton or Warp. The policy is an export, as on a robot; what else is shared with
training is the randomization of pictures, which knows no simulator.
"""
