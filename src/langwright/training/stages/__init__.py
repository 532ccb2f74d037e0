"""What each kind of training is: its batch and its loss."""
