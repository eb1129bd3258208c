"""Sources of dynamic configuration: one file per provider."""
