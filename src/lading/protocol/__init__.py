"""Bytes to tensors and back: plain JSON, the Open Inference Protocol over REST and gRPC."""
