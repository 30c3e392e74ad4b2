"""The experiments of the papers behind the networks: what each row needs, and running it."""
