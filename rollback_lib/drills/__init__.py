"""Do we know that it works? Scenarios, and running them against simulated companies."""
