"""A real arm that a tool moves by itself, from where it lies and back: ways that touch nothing, and who drives them.

``model`` reads the robot's MJCF, ``ways`` plans on it, ``driving`` follows a way by springs, through the guard, and
brakes where somebody stops it. Nothing here trains or learns, and MuJoCo only measures.
"""
