"""Run every command of walkthrough.md, and write what each of them says below it.

    python examples/walkthrough.py --data pneumoniamnist.npz --weights weights.h5 --xrays xrays/

The page's blocks of the kind `console` are transcripts: lines that begin with `$ ` are run, one after the
other, in a fresh folder in which `mine/` holds a few of the X-rays, as JPEG and as DICOM, and what does not
belong there. What they print replaces what stood below them. Pictures that the page shows are copied from
that folder, and only those without anybody's X-ray in them.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent
PAGE = EXAMPLES / "walkthrough.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
PICTURE = re.compile(r"!\[[^]]*\]\(walkthrough/([^)]+)\)")
# Where the page's pictures lie in the folder in which its commands ran.
SOURCES = {
    "learning_curves.png": "runs/first/learning_curves.png",
    "roc_test.png": "runs/first/roc_test.png",
    "histogram_test.png": "runs/first/histogram_test.png",
    "looked.png": "looked/synthetic_2_pneumonia.png",
}


def list_commands(page: str) -> list[str]:
    """Return the commands of the page's transcripts, in their order."""
    return [line[2:] for block in BLOCK.findall(page) for line in block.splitlines() if line.startswith("$ ")]


def lay_out(folder: Path, xrays: Path) -> None:
    """Make `mine/`: two X-rays as DICOM and four as JPEG, a photograph, and a note; and drawn chests."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_image

    mine = folder / "mine"
    mine.mkdir()
    found = sorted(path for path in xrays.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    chosen = found[:: max(1, len(found) // 6)][:6]
    for number, path in enumerate(chosen, start=1):
        if number in (2, 5):
            with Image.open(path) as image:
                write_dicom(mine / f"scan_{number}", np.asarray(image.convert("L")))
        else:
            shutil.copyfile(path, mine / f"xray_{number}{path.suffix}")
    Image.fromarray(load_sample_image("china.jpg")).save(mine / "holiday.jpg")
    (mine / "notes.txt").write_text("not an image\n")
    draw = [sys.executable, EXAMPLES / "draw_chest.py", folder / "drawn"]
    subprocess.run(draw, check=True)


def write_dicom(path: Path, grey: "object") -> None:
    """Write grey levels, uint8 (H, W), as a DICOM file whose text names a patient, for nothing to repeat."""
    import numpy as np
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    levels = np.asarray(grey, np.uint8)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    scan = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    scan.SOPClassUID, scan.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    scan.PatientName, scan.PatientID, scan.Modality = "Doe^Jane", "1234", "CR"
    scan.Rows, scan.Columns = levels.shape
    scan.SamplesPerPixel, scan.PhotometricInterpretation = 1, "MONOCHROME2"
    scan.BitsAllocated, scan.BitsStored, scan.HighBit, scan.PixelRepresentation = 8, 8, 7, 0
    scan.PixelData = levels.tobytes() + b"\0" * (levels.size % 2)
    scan.save_as(path, enforce_file_format=True)


def run_command(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Return what a command says on both streams, without this machine's paths and spaces at the end."""
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = done.stdout.decode().replace(str(folder), "~/walkthrough")
    for name in ("PNEUMOCLI_DATA", "PNEUMOCLI_WEIGHTS"):
        said = said.replace(environment[name], f"~/data/{Path(environment[name]).name}")
    said = "".join(f"{line.rstrip()}\n" for line in said.splitlines())
    ended = f"(exit code {done.returncode})\n" if done.returncode else ""
    return said + ended


def write_page(page: str, folder: Path, environment: dict[str, str]) -> str:
    """Return the page with what its commands say, each run once in the folder."""

    def rerun(match: "re.Match[str]") -> str:
        commands = [line for line in match[1].splitlines() if line.startswith("$ ")]
        said = "".join(f"{line}\n{run_command(line[2:], folder, environment)}" for line in commands)
        return f"```console\n{said}```"

    return BLOCK.sub(rerun, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--xrays", type=Path, required=True, help="a folder of X-ray images")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        lay_out(folder, given.xrays)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PNEUMOCLI_DATA": str(given.data.resolve()),
            "PNEUMOCLI_WEIGHTS": str(given.weights.resolve()),
            "PNEUMOCLI_CACHE": str(folder / "cache"),
            "COLUMNS": "80",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        page = write_page(PAGE.read_text(encoding="utf-8"), folder, environment)
        pictures = EXAMPLES / "walkthrough"
        pictures.mkdir(exist_ok=True)
        for name in PICTURE.findall(page):
            shutil.copyfile(folder / SOURCES[name], pictures / name)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
