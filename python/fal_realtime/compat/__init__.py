"""Stand-ins for other clients, so that programs written for them move by changing an import."""
