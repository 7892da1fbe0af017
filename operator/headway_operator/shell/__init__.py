"""The only I/O: the API server, the progress server, metrics and health."""
