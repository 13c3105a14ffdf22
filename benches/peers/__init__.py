"""What drives each client, and what is measured of it."""
