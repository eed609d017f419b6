"""Running: what is trained, with which optimizer, by whom, and on which machine.

- `inna.lab.running.networks`, `inna.lab.running.optimizers`: what a plan names.
- `inna.lab.running.training`: one run, which can be killed at any moment and goes on from its checkpoint;
  `inna.lab.running.graphs`: its step on a GPU; `inna.lab.running.provenance`: on what it was made.
- `inna.lab.running.execution`: one run, executed in this process or by a worker.
- `inna.lab.running.workers`: many runs, spread over workers; `inna.lab.running.engines`: where these are.
"""
