"""What this portal is measured by. Nothing in here is needed to run it or to test it."""
