"""Pure: objects in, a Plan out. No kopf, no I/O, no clock, no randomness."""
