"""What an artifact tells of the speakers it was made from: attacks, and what a guarantee against them costs."""
