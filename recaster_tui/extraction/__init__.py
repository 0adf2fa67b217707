"""From videos and pictures to aligned faces: detection, landmarks, cutting, writing."""
