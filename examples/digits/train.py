#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the digits classifier: an MLP 64 -> 128 -> 128 -> 10 with relu, in NumPy, from a fixed seed.

The training images are distorted anew in every epoch (a small random rotation, scaling, shear and
shift, resampled bilinearly) and blended in pairs. The settings below were chosen by --validate: five
runs, each leaving out one consecutive fifth of the training images.
"""
import argparse
import os

import numpy as np

import digits_data

LAYERS = (64, 128, 128, 10)
SEED = 20240607
EPOCHS = 500
BATCH = 64
RATE = 3e-3
DECAY = 3e-2
MIX = 0.3
ROTATE, SCALE, SHEAR, SHIFT = 0.20, 0.12, 0.20, 0.70


def distort(rng, images):
    """Each image [n, 64] through its own random affine map, bilinear, zero outside."""
    n = len(images)
    pad = np.zeros((n, 10, 10))
    pad[:, 1:9, 1:9] = images.reshape(n, 8, 8)
    angle = rng.uniform(-ROTATE, ROTATE, n)
    shear = rng.uniform(-SHEAR, SHEAR, n)
    sy = 1 + rng.uniform(-SCALE, SCALE, n)
    sx = 1 + rng.uniform(-SCALE, SCALE, n)
    dy = rng.uniform(-SHIFT, SHIFT, n)
    dx = rng.uniform(-SHIFT, SHIFT, n)
    y, x = np.mgrid[0:8, 0:8] - 3.5
    y, x = y.reshape(1, 64), x.reshape(1, 64)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    v = (cos * y - sin * x) * sy[:, None] + dy[:, None]
    u = (sin * y + cos * x) * sx[:, None] + shear[:, None] * y + dx[:, None]
    v = np.clip(v + 4.5, 0, 8.999)
    u = np.clip(u + 4.5, 0, 8.999)
    v0, u0 = v.astype(int), u.astype(int)
    fv, fu = v - v0, u - u0
    i = np.arange(n)[:, None]
    return (pad[i, v0, u0] * (1 - fv) * (1 - fu) + pad[i, v0, u0 + 1] * (1 - fv) * fu
            + pad[i, v0 + 1, u0] * fv * (1 - fu) + pad[i, v0 + 1, u0 + 1] * fv * fu)


def mix(rng, images, labels):
    """Each image blended with another one, and its target likewise; labels smoothed by 5 %."""
    target = np.full((len(labels), LAYERS[-1]), 0.05 / LAYERS[-1])
    target[np.arange(len(labels)), labels] += 0.95
    share = rng.beta(MIX, MIX, (len(labels), 1))
    other = rng.permutation(len(labels))
    return (share * images + (1 - share) * images[other],
            share * target + (1 - share) * target[other])


def forward(params, x):
    """Activations of every layer; the last entry holds the logits."""
    acts = [x]
    for layer in range(len(LAYERS) - 1):
        x = x @ params[2 * layer] + params[2 * layer + 1]
        if layer < len(LAYERS) - 2:
            x = np.maximum(x, 0)
        acts.append(x)
    return acts


def gradients(params, x, target):
    """Gradients of the cross entropy against target distributions [n, 10]."""
    acts = forward(params, x)
    e = np.exp(acts[-1] - acts[-1].max(1, keepdims=True))
    d = (e / e.sum(1, keepdims=True) - target) / len(x)
    grads = [None] * len(params)
    for layer in reversed(range(len(LAYERS) - 1)):
        grads[2 * layer] = acts[layer].T @ d
        grads[2 * layer + 1] = d.sum(0)
        if layer:
            d = (d @ params[2 * layer].T) * (acts[layer] > 0)
    return grads


def train(images, labels, seed=SEED, epochs=EPOCHS):
    """Adam with a cosine schedule over distorted images; returns [W1, b1, W2, b2, W3, b3]."""
    rng = np.random.default_rng(seed)
    params = []
    for k, m in zip(LAYERS, LAYERS[1:]):
        params += [rng.normal(0, np.sqrt(2 / k), (k, m)), np.zeros(m)]
    first = [np.zeros_like(p) for p in params]
    second = [np.zeros_like(p) for p in params]
    steps = epochs * (len(images) // BATCH)
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(images))
        warped = distort(rng, images)
        for at in range(0, len(images) - BATCH + 1, BATCH):
            pick = order[at:at + BATCH]
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
            inputs, target = mix(rng, warped[pick], labels[pick])
            for i, g in enumerate(gradients(params, inputs, target)):
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g * g
                m = first[i] / (1 - 0.9 ** step)
                v = second[i] / (1 - 0.999 ** step)
                params[i] = params[i] - rate * (m / (np.sqrt(v) + 1e-8) + DECAY * params[i])
    return params


def accuracy(params, images, labels):
    return float((forward(params, images)[-1].argmax(1) == labels).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--validate", action="store_true",
                        help="five-fold accuracy within the training images; writes nothing")
    parser.add_argument("--output", default=os.path.join(digits_data.HERE, "weights"))
    parser.add_argument("--by-position", action="store_true",
                        help="hold out the last 360 images instead and report; writes nothing")
    args = parser.parse_args()
    x, y, held_x, held_y = digits_data.split()
    if args.validate:
        folds = np.array_split(np.arange(len(x)), 5)
        scores = []
        for out in folds:
            rest = np.setdiff1d(np.arange(len(x)), out)
            scores.append(accuracy(train(x[rest].astype(float), y[rest]), x[out], y[out]))
        print("accuracy of the folds " + " ".join(f"{s:.4f}" for s in scores)
              + f", mean {np.mean(scores):.4f}")
        return
    if args.by_position:
        x, y, held_x, held_y = digits_data.split_by_position()
    params = [p.astype(np.float32) for p in train(x.astype(float), y)]
    print(f"training accuracy {accuracy(params, x, y):.4f}")
    print(f"held-out accuracy {accuracy(params, held_x, held_y):.4f}")
    if args.by_position:
        return
    os.makedirs(args.output, exist_ok=True)
    for i, p in enumerate(params):
        np.save(os.path.join(args.output, f"{'wb'[i % 2]}{i // 2 + 1}.npy"), p)


if __name__ == "__main__":
    main()
