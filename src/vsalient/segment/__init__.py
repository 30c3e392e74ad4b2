"""Saliency maps to object masks: thresholds, boundary snapping, dense CRF, clean-up and mask formats."""
