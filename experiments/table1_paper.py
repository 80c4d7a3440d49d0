"""The statistics of data sets that the papers print."""

SIZES = ("domains", "users", "items", "train", "valid", "test")
PAPER = {
    "Amazon-6": (6, 445_789, 172_653, 9_968_333, 3_372_666, 3_585_877),
    "Taobao-10": (10, 23_778, 6_932, 92_137, 37_645, 43_502),
    "Taobao-20": (20, 58_190, 16_319, 243_592, 96_591, 106_500),
    "Taobao-30": (30, 99_143, 29_945, 394_805, 151_369, 179_252),
    "Movielens-gen": (2, 6_041, 3_953, 600_125, 200_042, 200_042),
}
"""MLoRA's Table 1: the `SIZES` of each data set."""

PAPER_CATEGORIES = {
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Prime_Pantry",
    "Toys_and_Games",
    "Video_Games",
}
"""Amazon-6's domains, by the published code."""

STAR_DOMAINS = (
    (0.99, 2.14),
    (1.61, 2.69),
    (3.40, 2.97),
    (3.85, 3.63),
    (2.79, 2.77),
    (0.56, 3.45),
    (4.27, 3.59),
    (16.76, 3.24),
    (10.00, 3.23),
    (12.16, 2.08),
    (0.76, 12.05),
    (1.31, 3.52),
    (3.34, 1.27),
    (28.76, 3.75),
    (1.17, 12.03),
    (0.46, 4.02),
    (1.05, 1.63),
    (0.91, 4.64),
    (5.85, 1.42),
)
"""STAR's Table 1, in percent: of each of the 19 domains of Alibaba's own
training set its share of the rows and its CTR."""
