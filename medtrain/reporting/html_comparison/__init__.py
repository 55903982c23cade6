"""The comparison of runs as a page that needs nothing else, built of the parts of html_report."""
