"""The operator: a pure core that decides, a thin shell that does."""
