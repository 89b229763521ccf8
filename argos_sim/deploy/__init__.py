"""What runs on the robot: numpy, onnxruntime and the standard library, nothing that trains (``export`` excepted)."""
