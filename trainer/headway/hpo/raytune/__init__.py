"""`headway study` with the engine Ray Tune: trials as Ray's actors on this machine, the record in the same storage."""
