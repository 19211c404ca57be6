"""Six inverse problems of photos, restored with one prior of patches and with what needs no training."""
