"""The processes of a run: started, watched, started again.

Knows nothing of models or of TensorFlow: a supervisor starts within a second and
outlives the workers it watches.
"""
