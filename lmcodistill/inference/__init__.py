"""Models in use: held-out evaluation, sampling, and the model for serving."""
