"""INNAprop in the Hugging Face Trainer by class: the Trainer keeps norms and biases free of decay."""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from inna.hyperparameters import from_adamw
from inna.torch import INNAprop

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=16, n_embd=32, n_layer=1, n_head=2))
tokens = (torch.randint(0, 16, (256, 1)) + torch.arange(16)) % 16
data = [{"input_ids": row, "labels": row} for row in tokens]
settings = from_adamw(lr=5e-3, weight_decay=0.1)

with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        max_steps=60,
        learning_rate=settings["lr"],
        weight_decay=settings["weight_decay"],
        use_cpu=True,
        report_to=[],
        logging_steps=10,
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model, arguments, train_dataset=data, optimizer_cls_and_kwargs=(INNAprop, dict(settings))
    )
    trainer.train()
assert trainer.optimizer is not None
print("decays", sorted({group["weight_decay"] for group in trainer.optimizer.param_groups}))
losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}")
