"""The commands, one file per group; ``master.cli.app`` imports the one that runs."""
