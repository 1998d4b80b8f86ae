"""Tests that build and start what `deploy/` describes: `make test-deploy` runs them, and nothing else does."""
