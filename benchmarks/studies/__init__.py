"""A program for each measurement behind a decision. The number is the decision's in ``docs/decisions``."""
