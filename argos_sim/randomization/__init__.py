"""Randomization: what differs from one episode to the next, so that what is learned survives another room and robot.

``ranges`` holds every range, ``backgrounds`` draws textures and puts them behind the robot, ``photometrics`` changes
light, colour, noise and sharpness of the camera.
"""
