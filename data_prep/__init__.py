"""From crawl files to token shards: what `lmcodistill prep` does.

Stages are plain functions from a file and settings to files; `pipeline` puts
them in order, `engines` decides where they run. The one invariant: what a stage
writes depends on its input and settings alone, never on the number of workers,
the time, or an earlier attempt that was killed.
"""
