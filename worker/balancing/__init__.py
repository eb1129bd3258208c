"""Which server answers an exchange: one file per strategy."""
