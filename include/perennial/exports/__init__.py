"""What uses interaction data: audiences, profiles, exports, checks. All leave out expired data, and say so (R14)."""
