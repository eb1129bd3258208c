"""The rule language: text to tree (three dialects), tree to conditions, conditions to predicates."""
