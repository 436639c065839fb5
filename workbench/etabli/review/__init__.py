"""Judge with your own eyes: chat, the blind arena and its votes, token differences, the training film."""
