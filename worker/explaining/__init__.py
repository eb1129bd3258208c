"""What would become of a request that nobody sends: the data plane's own code, watched while it runs."""
