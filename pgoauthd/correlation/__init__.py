"""What happened to this login? Joins log events with verdicts into one outcome per attempt; never waits or stores."""
