"""The servers of others that we are compared with: whole programs, each started by its path in its own environment."""
