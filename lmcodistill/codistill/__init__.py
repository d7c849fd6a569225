"""What makes training codistillation: topologies, policies, prefetch, teachers.

Nothing passes between groups but exports on shared storage. A peer is never
waited for, unless the exchange is `scheduled`, and nothing that it writes is
run: its tensors are read into a model that is built here.
"""
