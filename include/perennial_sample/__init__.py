"""The sample workspace: what it takes to see the whole life cycle on one laptop."""
