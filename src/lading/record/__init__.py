"""What a server keeps of its answers: the payload log, drift, feedback."""
