"""Endings of file names, one list of each kind for the whole project; compared in lower case."""

from __future__ import annotations


def _endings(names: str) -> tuple[str, ...]:
    return tuple(f".{name}" for name in names.split())


IMAGES = _endings(
    "png apng jpg jpeg jpe jfif mpo webp avif heic heif hif jxl bmp dib tif tiff gif ppm pgm pbm pnm "
    "jp2 j2k j2c jpx jpf tga qoi"
)
RAW = _endings(
    "dng nef nrw cr2 cr3 crw arw sr2 srf orf rw2 rwl raf pef srw raw 3fr fff iiq erf kdc dcr mos mrw x3f gpr"
)
OTHERS = (*RAW, *_endings("exr hdr pfm psd ico svg jxr"))  # images that are left out of folders, with a word
VIDEOS = _endings("mkv mp4 mov avi y4m webm")
