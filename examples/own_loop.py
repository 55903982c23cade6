"""Train a network of your own on packed shards, in a plain PyTorch loop.

    medtrain data download demo --root data/demo && medtrain shard demo --root data/demo --out shards/demo
    python examples/own_loop.py shards/demo --epochs 5

For what is not here (several GPUs, mixed precision, checkpoints, exact resume) use `medtrain train`.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from medtrain import Loader, open_index

SIZE = 64  # pixels, to which the loader scales each image


def main() -> None:
    """Train, and say after each epoch how many of the validation split's known labels are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", help="folder of a packed dataset of images")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    torch.manual_seed(0)
    train, val = open_index(options.shards, "train"), open_index(options.shards, "val")
    loader = Loader(train, global_batch=16, image_size=SIZE, workers=1)  # epochs are shuffled by its `seed`
    validation = Loader(val, global_batch=16, image_size=SIZE, workers=1)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, len(train.classes)),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(options.epochs):
        model.train()
        for batch in loader.batches(epoch):  # batches(epoch, first_step=100) starts at step 100 without reading others
            logits = model(batch.inputs.float() / 255)  # inputs: uint8 [B, 1, SIZE, SIZE]
            known = batch.labels >= 0  # labels: int8 [B, L]; 1 present, 0 absent, negative unknown
            loss = binary_cross_entropy_with_logits(logits[known], batch.labels[known].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        right = total = 0
        with torch.inference_mode():
            for batch in validation.every_sample(16):
                known = batch.labels >= 0
                right += int(((model(batch.inputs.float() / 255) > 0) == batch.labels)[known].sum())
                total += int(known.sum())
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, {right} of {total} labels of the validation split right")
    loader.close()
    validation.close()


if __name__ == "__main__":
    main()
