"""The report of one run as a page that needs nothing else: no network, no script, no other file."""
