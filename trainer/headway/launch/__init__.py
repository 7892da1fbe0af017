"""What the launcher (headway.worker) and the ranks that it starts (headway.rank) share."""
