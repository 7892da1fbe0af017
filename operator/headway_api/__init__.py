"""The contract that the operator, the trainer and their users share: specs, status, names."""
