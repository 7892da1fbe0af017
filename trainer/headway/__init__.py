"""Headway: reinforcement learning for robot navigation."""
