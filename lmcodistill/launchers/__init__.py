"""Files that start a run on a cluster: templates, and what is filled in.

The templates are the files beside these modules. Nothing here talks to a cluster:
Slurm, Kubernetes and Docker read the text, and people do before them.
"""
