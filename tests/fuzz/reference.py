"""What a log amounts to, said by the slowest and plainest program that docs/format.md describes.

It shares no line with the core: whole files in memory, one byte after another, a checksum by its
definition.  Where the two disagree, one of them or the document is wrong.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_SEGMENT_NAME = re.compile(r"[0-9a-f]{16}\.seg")
_HEADER = struct.Struct("<8sIIII16sQQQQQQQIIQQQ")
_BATCH = struct.Struct("<4sIQQQQIIIIII")
_FIRST_BATCH = 8192
_HEADER_COPIES = (0, 4096)
_CLOSE = 2


class Damage(Exception):
    """Acknowledged data is missing or damaged."""


class Newer(Exception):
    """Written by a version of the format after this one."""


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC-32C, the Castagnoli polynomial, bits reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Header:
    block: int
    uuid: bytes
    number: int
    base_lsn: int
    salt: int
    size: int
    prev_number: int
    prev_end_offset: int
    prev_checksum: int
    oldest_lsn: int


@dataclass(frozen=True)
class Batch:
    checksum: int
    first_lsn: int
    durable_lsn: int
    oldest_lsn: int
    payload_bytes: int
    count: int
    payload_crc: int
    prev_checksum: int
    flags: int


@dataclass
class Walk:
    """Where the walk through a segment ended, and what it came by."""

    offset: int
    next_lsn: int
    chain: int
    oldest_lsn: int = 0
    records: int = 0
    bytes: int = 0
    last_flags: int = 0


def _header_copy(data: bytes) -> Header | None:
    """One copy of a segment's header, or None if it is not valid."""
    if len(data) < _HEADER.size:
        return None
    fields = _HEADER.unpack_from(data)
    magic, version, checksum, block, _, uuid, number, base, salt, size = fields[:10]
    prev_number, prev_lsn, prev_end, prev_checksum, _, oldest = fields[10:16]
    if magic != b"PDURSEG1" or crc32c(data[:12] + bytes(4) + data[16:128]) != checksum:
        return None
    if version > 1:
        raise Newer
    sane = (
        block in (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
        and number > prev_number
        and base >= 1
        and prev_lsn == base - 1
        and oldest <= base
        and _FIRST_BATCH < size < 2**32
    )
    if not sane:
        return None
    return Header(
        block, uuid, number, base, salt, size, prev_number, prev_end, prev_checksum, oldest
    )


def read_header(data: bytes, number: int) -> Header:
    for place in _HEADER_COPIES:
        header = _header_copy(data[place : place + _HEADER.size])
        if header is not None:
            if header.number != number:
                raise Damage("a segment under another one's name")
            return header
    raise Damage("no valid header")


def read_batch(data: bytes, offset: int, salt: int) -> Batch | None:
    """The header of a batch that stands at the offset, or None if none does."""
    raw = data[offset : offset + _BATCH.size]
    if len(raw) < _BATCH.size:
        return None
    magic, checksum, its_salt, first, durable, oldest = _BATCH.unpack(raw)[:6]
    payload, count, payload_crc, prev, flags, _ = _BATCH.unpack(raw)[6:]
    place = struct.pack("<Q", offset)
    if magic != b"PDB1" or its_salt != salt:
        return None
    if crc32c(raw[:4] + bytes(4) + raw[8:] + place) != checksum:
        return None
    if not (durable < first and first + count < 2**64 and oldest <= first + count):
        return None
    return Batch(checksum, first, durable, oldest, payload, count, payload_crc, prev, flags)


def split_records(payload: bytes, count: int) -> list[bytes] | None:
    """The records, or None if the payload is not exactly that many."""
    records = []
    at = 0
    for _ in range(count):
        if len(payload) - at < 4:
            return None
        (length,) = struct.unpack_from("<I", payload, at)
        at += 4
        if len(payload) - at < length:
            return None
        records.append(payload[at : at + length])
        at += length
    return records if at == len(payload) else None


def walk(data: bytes, header: Header, limit: int) -> Walk:
    """Go through the valid batches of a segment, from its first one, as far as the limit."""
    data = data[: header.size]
    at = Walk(_FIRST_BATCH, header.base_lsn, header.prev_checksum)
    while at.offset < limit:
        batch = read_batch(data, at.offset, header.salt)
        if batch is None or batch.first_lsn != at.next_lsn or batch.prev_checksum != at.chain:
            break
        begin = at.offset + _BATCH.size
        payload = data[begin : begin + batch.payload_bytes]
        if len(payload) < batch.payload_bytes or crc32c(payload) != batch.payload_crc:
            break
        records = split_records(payload, batch.count)
        if records is None:
            break
        end = begin + len(payload)
        at.offset = -(-end // header.block) * header.block
        at.next_lsn += batch.count
        at.chain = batch.checksum
        at.oldest_lsn = max(at.oldest_lsn, batch.oldest_lsn)
        at.records += batch.count
        at.bytes += sum(map(len, records))
        at.last_flags = batch.flags
    return at


def _torn_end(data: bytes, header: Header, end: Walk) -> int:
    """Where traces of unfinished batches end; damage if one calls the lost records durable."""
    if len(data) < header.size:
        raise Damage("shorter than its header says")
    data = data[: header.size]
    torn = end.offset
    for offset in range(end.offset, len(data), header.block):
        batch = read_batch(data, offset, header.salt)
        if batch is None:
            continue
        if batch.durable_lsn >= end.next_lsn:
            raise Damage("a later batch says that these records were durable")
        torn = max(torn, min(offset + _BATCH.size + batch.payload_bytes, header.size))
    return torn


def _walk_earlier(data: bytes, header: Header, successor: Header) -> Walk:
    """A segment that has a successor ends exactly as that says."""
    if successor.number != header.number + 1 or successor.prev_number != header.number:
        raise Damage("a segment is missing")
    found = walk(data, header, successor.prev_end_offset)
    if successor.uuid != header.uuid:
        raise Damage("a segment of another log")
    expected = successor.prev_end_offset, successor.prev_checksum, successor.base_lsn
    if (found.offset, found.chain, found.next_lsn) != expected:
        raise Damage("it does not end as its successor says")
    return found


def judge(segments: Mapping[int, bytes]) -> str:
    """The verdict on segments by their numbers, in the words of the program that replays inputs."""
    if not segments:
        return "none"
    try:
        return _judge(segments)
    except Damage:
        return "damaged"
    except Newer:
        return "newer"


def _judge(segments: Mapping[int, bytes]) -> str:
    numbers = sorted(segments)
    headers = [read_header(segments[number], number) for number in numbers]
    last, last_data = headers[-1], segments[numbers[-1]]
    end = walk(last_data, last, 2**64)
    torn = _torn_end(last_data, last, end)
    oldest = max(1, end.oldest_lsn, *(header.oldest_lsn for header in headers))
    kept = [
        index
        for index in range(len(headers))
        if index == len(headers) - 1 or headers[index + 1].base_lsn > oldest
    ]
    # What truncation has given up is a beginning; from the first kept segment on all are needed.
    first = kept[0]
    if headers[first].base_lsn > oldest:
        raise Damage("the first segments are missing")
    walks = [end]
    for index in range(first, len(headers) - 1):
        data = segments[numbers[index]]
        walks.append(_walk_earlier(data, headers[index], headers[index + 1]))
    records = sum(each.records for each in walks)
    size = sum(each.bytes for each in walks)
    clean = int(bool(end.last_flags & _CLOSE))
    return (
        f"sound {oldest} {end.next_lsn} {len(headers) - first} {records} {size} "
        f"{last.number} {end.offset} {torn - end.offset} {clean}"
    )


def read_directory(path: Path) -> dict[int, bytes]:
    """The segments of a log by their numbers."""
    return {
        int(entry.name[:16], 16): entry.read_bytes()
        for entry in path.iterdir()
        if _SEGMENT_NAME.fullmatch(entry.name)
    }
