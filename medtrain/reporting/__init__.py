"""What people look at: reports in words and tables, and every figure.

Imported by: `launch` and `cli`.
Door: `split_report.evaluate_opened(opened, split, say)`; without torch `html_report.run_page.write_report_page(run)`.
"""
