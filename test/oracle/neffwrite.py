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


def _subgraph(members, graph, core):
    """Members of one physical core: programs {engine: [Record]}, groups {engine: [dict]}, queues and
    variables as in def.json, files {member: bytes}."""
    definition = {"name": "definition", "version": "0.1", "dma_queue": core["queues"],
                  "var": core["variables"], "isa": {"name": "opennrt", "version": 1}}
    for engine, records in core["programs"].items():
        key = KEYS[engine]
        definition[key], definition[key + "_instr"] = key + ".json", key + ".bin"
        members[f"{graph}/{key}.json"] = json.dumps(
            {"dma": core["groups"].get(engine, [])}).encode()
        members[f"{graph}/{key}.bin"] = b"".join(r.pack() for r in records)
    members[f"{graph}/def.json"] = json.dumps(definition).encode()
    for name, data in core["files"].items():
        members[f"{graph}/{name}"] = data


def write_cores(path, gen, cores, tensors):
    """cores: one or two dicts, see _subgraph; tensors (inputs, outputs): neff.json tensor objects."""
    members, n = {}, len(cores)
    for i, core in enumerate(cores):
        _subgraph(members, f"sg{i:02}", core)
    graphs = [{"definition": f"sg{i:02}/def.json", "name": f"sg{i:02}"} for i in range(n)]
    members["kelf-0.json"] = json.dumps({"graphs": graphs, "version": "0.5"}).encode()
    members["info.json"] = json.dumps({"tool_version": "oracle", "arch": ARCH[gen]}).encode()
    members["neff.json"] = json.dumps(
        {"nodes": [{"id": 1, "executor": "NeuronCore", "name": "sg00", "inputs": tensors[0],
                    "outputs": tensors[1]}]}).encode()
    payload = io.BytesIO()
    with tarfile.open(fileobj=payload, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    payload = payload.getvalue()
    head = struct.pack("<5Q128sI32s16s256sI64sQI", 2, 1024, len(payload), 2, 0, b"oracle", n,
                       hashlib.md5(payload).digest(), bytes(range(16)), b"oracle", n,
                       bytes([n]), 0, n)
    with open(path, "wb") as f:
        f.write(head.ljust(1024, b"\0") + payload)


def write(path, gen, programs, groups, queues, variables, files, tensors):
    """A NEFF for one physical core."""
    write_cores(path, gen, [{"programs": programs, "groups": groups, "queues": queues,
                             "variables": variables, "files": files}], tensors)
