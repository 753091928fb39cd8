CREATE DATABASE prefect;
CREATE DATABASE mlflow;
CREATE DATABASE decisions;
-- Prefect's own migrations look names up by likeness.
\connect prefect
CREATE EXTENSION IF NOT EXISTS pg_trgm;
