"""What needs training and evaluation both."""
