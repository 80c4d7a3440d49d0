"""Turns public click logs, and your own, into prepared folders.

Nothing here imports TensorFlow or the library: the folder's format, described
in `data_prep.folder`, is all that the two sides share.
"""
