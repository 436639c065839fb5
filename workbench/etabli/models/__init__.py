"""A name to local weights, what is open about them, and loading in 4 bits."""

from etabli.core import machine

machine.settle_threads()  # the room's modules import torch
