# SPDX-License-Identifier: Apache-2.0
"""Writes NEFF files from docs/spec/neff.md, independently of the C builder."""
import hashlib
import io
import json
import struct
import tarfile

from records import ACT, DVE, PE, POOL, SP

KEYS = {PE: "pe", DVE: "dve", ACT: "act", POOL: "pool", SP: "sp"}
ARCH = {2: "trn1", 3: "trn2", 4: "trn3"}


def write(path, gen, programs, groups, queues, variables, files, tensors):
    """programs {engine: [Record]}, groups {engine: [dict]}, queues and variables as in def.json,
    files {member: bytes}, tensors (inputs, outputs): lists of neff.json tensor objects."""
    definition = {"name": "definition", "version": "0.1", "dma_queue": queues, "var": variables,
                  "isa": {"name": "opennrt", "version": 1}}
    members = {}
    for engine, records in programs.items():
        key = KEYS[engine]
        definition[key], definition[key + "_instr"] = key + ".json", key + ".bin"
        members["sg00/" + key + ".json"] = json.dumps({"dma": groups.get(engine, [])}).encode()
        members["sg00/" + key + ".bin"] = b"".join(r.pack() for r in records)
    members["sg00/def.json"] = json.dumps(definition).encode()
    members["kelf-0.json"] = json.dumps(
        {"graphs": [{"definition": "sg00/def.json", "name": "sg00"}], "version": "0.5"}).encode()
    members["info.json"] = json.dumps({"tool_version": "oracle", "arch": ARCH[gen]}).encode()
    members["neff.json"] = json.dumps(
        {"nodes": [{"id": 1, "executor": "NeuronCore", "name": "sg00", "inputs": tensors[0],
                    "outputs": tensors[1]}]}).encode()
    for name, data in files.items():
        members["sg00/" + name] = data
    payload = io.BytesIO()
    with tarfile.open(fileobj=payload, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    payload = payload.getvalue()
    head = struct.pack("<5Q128sI32s16s256sI64sQI", 2, 1024, len(payload), 2, 0, b"oracle", 1,
                       hashlib.md5(payload).digest(), bytes(range(16)), b"oracle", 1,
                       b"\x01", 0, 1)
    with open(path, "wb") as f:
        f.write(head.ljust(1024, b"\0") + payload)
