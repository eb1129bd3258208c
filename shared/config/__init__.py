"""Configuration: from text, flags and environment to frozen structs, in both dialects."""
