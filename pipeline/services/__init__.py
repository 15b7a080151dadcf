"""MLflow on PostgreSQL, an S3 store and Redis, as processes on this machine."""
