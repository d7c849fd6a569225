"""gin files, read, checked and explained: from text to frozen settings.

gin describes, Python builds: a gin file binds fields of the dataclasses in
`lmcodistill/settings` and does nothing else. The one invariant: no gin file runs
code or reads outside its own folder and the shipped one. Only this package imports
gin.
"""
