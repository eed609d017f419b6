"""Results: curves, what they show in numbers and in sentences, and how far they are from the printed ones.

- `inna.lab.results.curves`: what came out, as plain data.
- `inna.lab.results.judgement`: what it shows, in numbers; `inna.lab.results.findings`: in sentences.
- `inna.lab.results.budget`, `design`, `speed`: what more tuning gives, how many seeds it takes, how fast a
  target is reached; of plain arrays.
- `inna.lab.results.paper`: the paper's printed curves.
"""
