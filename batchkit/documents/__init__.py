"""Look at a file on disk, and hand it on as what a provider can read. Reads files, never the net.

Text, PDF and image files go to a provider as they are; Word, Excel, PowerPoint and RTF files as the
text in them. What a file is, its content decides; a name that promises a PDF or an image and holds
none is refused, since that is mostly a saved error page.
"""

from __future__ import annotations

from batchkit.documents.images import image_size
from batchkit.documents.looking import decode, inspect, pdf_text, split
from batchkit.documents.ranges import original_page
from batchkit.documents.reading import Reader, load, measured
from batchkit.documents.text import TEXT_TYPES
from batchkit.documents.unfit import MAX_BYTES

__all__ = [
    "MAX_BYTES",
    "TEXT_TYPES",
    "Reader",
    "decode",
    "image_size",
    "inspect",
    "load",
    "measured",
    "original_page",
    "pdf_text",
    "split",
]
