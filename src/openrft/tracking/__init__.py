"""Experiment trackers: a job's numbers in TensorBoard, Weights & Biases, Trackio or MLflow while it runs.

The run's folder is all they need, so nothing of this is in the training process:

    training ──writes──► run folder ◄──follows── one process for each tracker (follow.py) ──► the tracker

A tracker that is slow, out of reach or broken costs the job nothing. A tracker says which step it has last; what the
folder holds beyond that is sent, so a resumed run goes on in the same place and no step is there twice.

A new tracker is one file with a :class:`~openrft.tracking.tracker.Tracker`, one type in ``config/integrations.py`` and
one line in ``catalog.py``.
"""
