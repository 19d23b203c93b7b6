"""Stage 5: measure every variant, and judge it by the budget."""
