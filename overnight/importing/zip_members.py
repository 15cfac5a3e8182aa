"""Members of a zip archive, also those that Inspect compresses with Zstandard."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import zstandard

from overnight.errors import UsageError

# PKWARE APPNOTE 4.4.5 and 4.3.7; the standard library reads this method from Python 3.14 on.
_ZSTANDARD = 93
_LOCAL_HEADER_BYTES = 30
_NAME_LENGTH_AT = 26


def read_member(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    """Return a member's bytes.

    Raises:
        UsageError: it is damaged, encrypted, or compressed in a way that is not known.
    """
    info = archive.getinfo(name)
    try:
        if info.compress_type != _ZSTANDARD:
            return archive.read(info)
        content = _zstandard_content(path, info)
    except (zipfile.BadZipFile, zlib.error, zstandard.ZstdError, struct.error, EOFError) as error:
        raise UsageError(f"{path}: {name}: damaged ({error}); restore the file") from None
    except (NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{path}: {name}: cannot be read ({error}); convert the log to JSON") from None
    if zlib.crc32(content) != info.CRC:
        raise UsageError(f"{path}: {name}: damaged (its checksum is wrong); restore the file")
    return content


def _zstandard_content(path: Path, info: zipfile.ZipInfo) -> bytes:
    """Return what several frames in a row hold: Inspect begins a new one every 200 MiB."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER_BYTES)
        name_length, extra_length = struct.unpack_from("<HH", header, _NAME_LENGTH_AT)
        file.seek(name_length + extra_length, io.SEEK_CUR)
        packed = io.BytesIO(file.read(info.compress_size))
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        return reader.read(info.file_size)
