"""Comparisons of ways to train, run as people would run them, and their results.

`arms` lists the ways, `runs` and `schedule` train and score them, `curves` turns
reports into numbers, `results` compares arms and puts that into sentences and `page`
on a page. `churn` and `comparer` compare the
predictions of models. Nothing here trains: every run is a `lmcodistill train` of
its own.
"""
