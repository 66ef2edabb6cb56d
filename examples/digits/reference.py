#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The NumPy reference of the digits classifier: batches, class probabilities and labels.

`reference.py DIR` writes, for every batch k of 128 held-out images (the last one padded with zero
images), DIR/batch<k>.bin (float32 [128, 64], what the NEFF reads) and DIR/probs<k>.bin (float32
[128, 10]); and DIR/labels.bin (uint32, the classes this reference gives) and DIR/truth.bin (uint32,
the classes of the data set).
"""
import os
import sys

import numpy as np

import digits_data

BATCH = 128


def weights():
    path = os.path.join(digits_data.HERE, "weights")
    return [np.load(os.path.join(path, f"{k}{i}.npy")) for i in (1, 2, 3) for k in "wb"]


def forward(x):
    """float32 images [n, 64] -> class probabilities [n, 10]."""
    w1, b1, w2, b2, w3, b3 = weights()
    h = np.maximum(x @ w1 + b1, 0)
    h = np.maximum(h @ w2 + b2, 0)
    logits = h @ w3 + b3
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: reference.py DIR")
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    _, _, images, truth = digits_data.split()
    labels = []
    for k, at in enumerate(range(0, len(images), BATCH)):
        batch = np.zeros((BATCH, 64), np.float32)
        part = images[at:at + BATCH]
        batch[:len(part)] = part
        probs = forward(batch)
        batch.tofile(os.path.join(out, f"batch{k}.bin"))
        probs.astype(np.float32).tofile(os.path.join(out, f"probs{k}.bin"))
        labels.append(probs.argmax(1)[:len(part)])
    labels = np.concatenate(labels)
    labels.astype(np.uint32).tofile(os.path.join(out, "labels.bin"))
    truth.astype(np.uint32).tofile(os.path.join(out, "truth.bin"))
    print(f"reference accuracy {(labels == truth).mean():.4f} on {len(truth)} images")


if __name__ == "__main__":
    main()
