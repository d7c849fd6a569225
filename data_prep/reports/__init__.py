"""What became of every document: counts, report.json and report.html."""
