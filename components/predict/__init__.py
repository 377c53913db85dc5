"""Prediction: which objects sound, where and when."""
