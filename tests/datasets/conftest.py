"""Tiny sets in the layouts of the lab set and of the individual-observer study."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture
def tiny_lab(tmp_path: Path) -> Path:
    """Two sources × three images, three people, PNG, with log: the official layout in small."""
    root = tmp_path / "lab"
    (root / "test_1" / "images").mkdir(parents=True)
    (root / "images" / "src_cropped").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{s}.mkv_1frame_crf_{c:02d}_height_{h:04d}" for s in "ab" for c, h in ((3, 40), (20, 30), (40, 20))]
    for name in names:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(
            root / "test_1" / "images" / f"{name}.png"
        )
    (root / "images" / "src_cropped" / "a.mkv_1frame.mkv").write_bytes(b"video")
    table = pd.DataFrame({"image_name": names, "user1": [5, 3, 1, 4, 3, 2], "user2": [5, 4, 2, 5, 3, 1]})
    table["user3"] = [4, 3, 1, 4, 2, 1]
    table["mos"], table["ci"] = 0.0, 0.0
    table.to_csv(root / "test_1" / "per_user.csv", index=False)
    rows = []
    for user in (1, 2, 3):
        order = rng.permutation(len(names))
        for second, i in enumerate(order):
            vote = table[f"user{user}"][i] if user != 3 else 3  # the log of user3 is of somebody else
            time = f"2020-01-0{user} 10:00:{2 * second:02d} {500000:06d}"
            rows.append((vote, "radio", time, user, second, f"['.\\\\selection\\\\{names[i]}.png']"))
    rows.append(
        (1, "radio", "2020-01-01 11:00:00 000000", 1, 9, f"['.\\\\selection\\\\{names[0]}.png']")
    )  # voted again
    columns = ["rating", "rating_type", "timestamp", "user_ID", "video_ID", "video_name"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "test_1" / "ratings.csv", index=False)
    return root


@pytest.fixture
def tiny_playlists(tmp_path):
    """Two people and a faulty run, three images a session, in the study's layout."""
    name = "{}ILSVRC2013_train_0000{}.JPEG_I{}_Q{}.jpeg".format
    first, second = [name(i, i, 1, 5 + i) for i in range(3)], [name(i, i, 4, 30 + i) for i in range(3, 6)]
    held_out = [name(i, i, 5, 70 + i) for i in range(6, 9)]
    for person, last in (("Obs1", first), ("Obs2", first), ("Obs4.0", held_out)):
        folder = tmp_path / "Obs_iterative" / person
        folder.mkdir(parents=True)
        for session, images in ((1, first), (2, second), (4, last)):
            rows = "".join(f"{image},{session},0.5,24-Jan-2023 10:51:1{i}\n" for i, image in enumerate(images))
            (folder / f"{person}_{session}.csv").write_text("Image Name,Vote,Duration,Timestamp\n" + rows)
    (tmp_path / "Test").mkdir()
    for person in ("Obs0", "Obs1", "Obs2"):
        rows = "".join(f"{image},5\n" for image in held_out)
        (tmp_path / "Test" / f"{person}.csv").write_text("Image Name,Vote\n" + rows)
    return tmp_path
