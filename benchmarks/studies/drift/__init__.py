"""Examples and request streams for the drift study."""
