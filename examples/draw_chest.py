"""Write drawn chests as PNG files, to try `pneumocli predict` without any real X-ray.

python examples/draw_chest.py DIRECTORY [IMAGES]
"""

import sys
from pathlib import Path

from PIL import Image

from pneumocli.core.data import CLASS_NAMES
from pneumocli.core.synthetic import draw_dataset


def main() -> None:
    directory, images = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 4
    directory.mkdir(parents=True, exist_ok=True)
    # Another seed than the training images', and larger, as an image from elsewhere would be.
    chests = draw_dataset(seed=1, test=max(images, 3), train=3, val=3, pixels=224).test
    for number in range(images):
        label = CLASS_NAMES[chests.labels[number]]
        Image.fromarray(chests.images[number]).save(directory / f"synthetic_{number + 1}_{label}.png")


if __name__ == "__main__":
    main()
