"""What people see of a run: its batches, its course, what ails it. All of it is read from the run's
folder and its parents; the loop knows nothing of it."""
