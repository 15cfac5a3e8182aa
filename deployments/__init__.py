"""What a Prefect server is told of the flows: pools, limits and deployments; as data, checked and applied."""
