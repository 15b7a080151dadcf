-- Beside the database of runs, which the image makes: that of users.
CREATE DATABASE mlflow_auth;
