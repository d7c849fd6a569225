"""Comparisons of ways to train, run as people would run them, and what they show.

`arms` says what is compared, `runs` trains and scores it, `measures` and
`intervals` turn reports into numbers, `verdicts` into sentences, `page` into a
page. Nothing here trains: every run is a `lmcodistill train` of its own.
"""
