"""The LSTM language model: `family` is what the registry knows of it."""
