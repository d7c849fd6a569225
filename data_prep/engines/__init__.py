"""Where the stages run: processes of this machine, or Spark."""
