"""The data plane: one process that accepts, matches, runs the chain and forwards."""
