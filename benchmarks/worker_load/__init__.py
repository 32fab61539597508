"""What a call costs a worker, beside other clients of the same sideband, measured in the same run."""
