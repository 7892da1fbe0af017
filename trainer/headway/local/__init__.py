"""`headway run`: a TrainingRun on this machine, with its status in the output folder."""
