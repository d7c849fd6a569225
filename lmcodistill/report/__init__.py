"""From numbers to a page that people open: self-contained HTML, no script.

Pure functions from values to text: no files, no clock, no configuration. What
comes from outside is escaped here, and nowhere else, so callers pass plain text
and never HTML of their own.
"""
