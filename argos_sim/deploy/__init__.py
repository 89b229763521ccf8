"""What runs on the robot: numpy, onnxruntime, PyYAML and the standard library; ``export`` excepted, which writes it."""
