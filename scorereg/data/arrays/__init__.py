"""Training data as arrays: a folder of arrays.json and .npy files, read and written."""
