"""The control plane: a pure core that decides, a thin shell that acts."""
