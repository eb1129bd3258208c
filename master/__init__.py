"""The control plane: providers, compiler, reloads, supervision and the command line."""
