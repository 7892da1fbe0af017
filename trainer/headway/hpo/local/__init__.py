"""`headway study`: trials as local runs, a few at a time, over the same core that a cluster uses."""
