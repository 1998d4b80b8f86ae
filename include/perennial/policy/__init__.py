"""What expires, what is kept and why: the decisions (R2 to R7), and deletions of the previous policy (R18)."""
