"""Models, their queues, and the lanes that run them."""
