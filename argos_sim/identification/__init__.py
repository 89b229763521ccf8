"""System identification: an arm is excited, recorded, and simulated until its simulation moves as it did.

``excitation`` and ``playing`` run on the robot and import nothing that trains. Of an arm's ``SimulatedRobot`` and of a
real one the same is recorded, and the same is fitted.
"""
