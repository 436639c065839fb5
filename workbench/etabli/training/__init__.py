"""The engine: a child process that trains what a run folder's recipe says."""

from etabli.core import machine

machine.settle_threads()  # the room's modules import torch
