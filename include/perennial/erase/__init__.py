"""Erases people wherever the warehouse holds something of them, and proves that nothing is left (R22)."""
