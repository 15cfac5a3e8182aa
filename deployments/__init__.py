"""What a Prefect server is told of the flows: pools and deployments; as data, checked and applied."""
