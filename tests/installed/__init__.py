"""Tests of engines that are installed beside the project, into `.tools`: `make test-engines` runs them, and nothing else does."""
