"""What a video, a camera or an image is analyzed with unless the user says otherwise.

`fer video`, `fer app`, `fer predict`, notebook 70 and `Engine` all take it from here. Colors are
turned to grey by `detection.to_grey` in all of them.
"""

MODEL = "fer13-7"  # its classes summed to three do at least as well as the three-class network
DETECTOR = "haar"
SMOOTHING_SECONDS = 0.4  # time constant, see `smoothing`
SMALLEST_FACE = 0.2  # of the frame's shorter side: the subject fills it; smaller are often false
SMALLEST_IN_IMAGE = 0.1  # of an image's: groups are photographed more often than recorded
EVERY = 1  # faces are detected in every so many frames
