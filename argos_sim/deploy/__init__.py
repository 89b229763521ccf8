"""What runs on the robot: numpy, onnxruntime, PyYAML and the standard library, nothing that trains (``export`` and
``traced`` excepted, which write what is run)."""
