"""What is asked of running servers and clusters."""
