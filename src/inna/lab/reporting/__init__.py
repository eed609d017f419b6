"""The report: what each figure shows, and how it is drawn, in a file and in one page.

- `inna.lab.reporting.figures`: what each figure shows, as plain data.
- `inna.lab.reporting.drawing`: a figure in Matplotlib; `inna.lab.reporting.interactive`: in a browser.
- `inna.lab.reporting.leaderboard`, `circumstances`: who stands where; what was compared, on what it ran.
- `inna.lab.reporting.page`: the page.
"""
