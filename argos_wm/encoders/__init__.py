"""Frozen encoders of pictures, proprioception and text."""
