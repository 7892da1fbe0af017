"""Environments: the seam to learners (`protocol`), what is behind it by name (`registry`), and headway/Nav-v0."""
