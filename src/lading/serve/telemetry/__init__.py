"""What the server says about its requests: metrics, spans and log lines."""
