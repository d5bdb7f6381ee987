"""The data sets' readers, under one name."""

from fer_lib.ckplus_readers import Crop, haar_crop, read_ckplus
from fer_lib.fer2013_readers import read_fer2013

__all__ = ["Crop", "haar_crop", "read_ckplus", "read_fer2013"]
