# SPDX-License-Identifier: Apache-2.0
"""The digits data set and its split: every fifth image (360 of 1,797) is held out of training."""
import gzip
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def load():
    """All images as float32 [n, 64] in 0..1, and their labels as int64 [n]."""
    path = os.path.join(HERE, "data", "digits.csv.gz")
    with gzip.open(path, "rt") as lines:
        table = np.array([[int(v) for v in line.split(",")] for line in lines])
    return (table[:, :64] / 16.0).astype(np.float32), table[:, 64]


def split():
    """(train images, train labels, held-out images, held-out labels)"""
    images, labels = load()
    held = np.arange(len(images)) % 5 == 0
    return images[~held], labels[~held], images[held], labels[held]


def split_by_position():
    """The same with the last 360 images held out: hands that the first ones do not show."""
    images, labels = load()
    return images[:1437], labels[:1437], images[1437:], labels[1437:]
