"""What Prefect needs around the deployments of ``prefect.yaml``."""
