"""Constants of pixel values that several rooms need."""

# Mean and standard deviation of RGB values in [0, 1] of ImageNet's training images, as torchvision's weights expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# ITU-R BT.601 with full range, as in JPEG files: rows are Y (luma), Cb, Cr.
RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
