"""What a Prefect server is told of the flows: pools, deployments, automations; as data, checked and applied."""
