"""What is to be done: robots, scenes, instructions and success. Importing it registers the gymnasium ids."""

import tasks.franka
import tasks.so100  # noqa: F401
