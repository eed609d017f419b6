"""INNAprop in the Hugging Face Trainer, on a small Transformer that learns to count."""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from inna.torch import INNAprop

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=16, n_embd=32, n_layer=1, n_head=2))
tokens = (torch.randint(0, 16, (256, 1)) + torch.arange(16)) % 16
data = [{"input_ids": row, "labels": row} for row in tokens]

with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        max_steps=60,
        use_cpu=True,
        report_to=[],
        logging_steps=10,
        save_strategy="no",
        disable_tqdm=True,
    )
    optimizer = INNAprop(model.parameters(), lr=1e-2)
    trainer = Trainer(model, arguments, train_dataset=data, optimizers=(optimizer, None))
    trainer.train()
losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
