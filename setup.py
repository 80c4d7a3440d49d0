"""Installs the library; experiments and data_prep run from a checkout."""

import pathlib
import re

from setuptools import find_packages
from setuptools import setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+?)"', (ROOT / "mlora_tf" / "version.py").read_text()
).group(1)

EXPERIMENTS = [
    "absl-py>=2.1",
    "matplotlib>=3.8",
    "pandas>=2.2",
    "markdown-it-py>=3",
    "rich>=13",
    "scikit-learn>=1.4",
    "scipy>=1.11",
    "tensorboard>=2.16",
]

setup(
    name="mlora-tf",
    version=VERSION,
    description=("Click prediction for many domains at once: MLoRA in Keras 3"),
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords=[
        *("click-through rate", "ctr", "recommender systems", "multi-domain"),
        *("lora", "star", "keras", "tensorflow"),
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["mlora_tf", "mlora_tf.*"]),
    package_data={"mlora_tf": ["py.typed"]},
    python_requires=">=3.11",
    install_requires=[
        "tensorflow>=2.20",
        "keras>=3.15",
        "numpy>=1.26",
        "pyarrow>=15",
    ],
    extras_require={
        "experiments": EXPERIMENTS,
        "test": [
            *EXPERIMENTS,
            "hypothesis>=6.100",
            "mypy>=1.13",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff>=0.9",
        ],
        "docs": [
            "mkdocs-material>=9.6",
            "mkdocstrings[python]>=1.0",
            "ruff>=0.9",
        ],
        "and-cuda": ["tensorflow[and-cuda]>=2.20"],
        "beam": [*EXPERIMENTS, "apache-beam>=2.77"],
        "jax": ["jax>=0.6"],
        "torch": ["torch>=2.6"],
    },
)
