# SPDX-License-Identifier: Apache-2.0
"""neuron-packager: every option, exact output. NEFFs are made here, byte by byte, from the example of
docs/spec/neff.md section 11; what the tool writes is taken apart with Python's own tar and hashes.

    test_packager.py <neuron-packager> <docs/spec/neff.md>
"""
import hashlib
import io
import json
import os
import random
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from proves import proves  # noqa: E402
from seed import seed_take  # noqa: E402

TOOL, PAGE = (os.path.abspath(p) for p in sys.argv[1:3])
UUID = bytes(range(0x10, 0x20))


def npy(count=64):
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (8, 8), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00\x76\x00" + head + bytes(i % 256 for i in range(4 * count))


def example():
    """The members of the example."""
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    section = page[page.index("## 11. "):page.index("## 12. ")]
    definition, sp, kinds = (json.loads(b) for b in re.findall(r"```json\n(.*?)```", section, re.S))
    sp["dma"].append({"id": 3, "queue": "qIn", "desc": kinds})
    members = {
        "kelf-0.json": re.search(r"```json\n(\{\"graphs\".*?)```", page, re.S).group(1).encode(),
        "neff.json": re.search(r"```json\n(\{\"nodes\".*?)```", page, re.S).group(1).encode(),
        "hlo_stats.json": b'{"operations": 1}',
        "debug_info/sg00-sp.json": b'[{"line": 3}]',
        "sg00/def.json": json.dumps(definition).encode(),
        "sg00/SP.json": json.dumps(sp).encode(),
        "sg00/w.npy": npy(),
    }
    for engine in ("Activation", "DVE", "PE", "Pool"):
        members["sg00/%s.json" % engine] = b'{"dma": []}'
    for engine in ("Activation", "DVE", "PE", "Pool", "SP"):
        members["sg00/%s.bin" % engine] = b"0123456789abcdef"
    return members


def tarball(members, compress):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if compress else "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def header(payload, pkg=2, major=2, minor=0, name=b"toy", features=0, num_tpb=1, lnc=1):
    """The published layout, packed here on its own."""
    digest = (hashlib.sha256 if pkg == 1 else hashlib.md5)(payload).digest().ljust(32, b"\0")
    return (struct.pack("<QQQQQ128sI32s16s256sI64sQI468s", pkg, 1024, len(payload), major, minor,
                        b"test build", num_tpb, digest, UUID, name, 1, b"\x01", features, lnc, b""))


def seal(data):
    """The last 36 bytes of the header (neff.md section 3)."""
    return b"hdrS" + hashlib.sha256(data[:988] + b"hdrS" + bytes(32)).digest()


def run(*args, cwd):
    p = subprocess.run([TOOL, *args], cwd=cwd, capture_output=True, text=True, timeout=120)
    return p.returncode, p.stdout, p.stderr


class Packager(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def ok(self, *args):
        code, out, err = run(*args, cwd=self.dir.name)
        self.assertEqual((code, err), (0, ""))
        return out

    def neff(self, file, members=None, compress=True, **fields):
        payload = tarball(members or example(), compress)
        self.write(file, header(payload, **fields) + payload)
        return payload

    def test_version(self):
        self.assertRegex(self.ok("--version"), r"^neuron-packager \d+\.\d+\.\d+ \(OpenNRT\)\n$")
        self.assertEqual(self.ok("-v"), self.ok("--version"))
        proves("tool-058")

    def test_create_options(self):
        payload = tarball(example(), True)
        self.write("in.tgz", payload)
        out = self.ok("create", "--input", "in.tgz", "--tool-version", "tool 7", "--neff-version", "2.0",
                      "--header-version", "1", "--name", "a net", "--num-nc", "3", "--output", "sub",
                      "--enable-feature", "bin-weights", "--enable-feature", "collectives-offset",
                      "--enable-feature", "custom-ops", "--enable-feature", "coalesced-cc")
        self.assertEqual(out, "Successfully generated: sub.neff\n")
        data = self.read("sub.neff")
        self.assertEqual(data[1024:], payload)
        proves("tool-040")
        fields = struct.unpack("<QQQQQ128sI32s16s256sI64sQI468s", data[:1024])
        self.assertEqual(fields[0], 1)
        self.assertEqual(fields[7], hashlib.sha256(payload).digest())
        proves("tool-043")
        self.assertEqual(fields[1:3], (1024, len(payload)))
        self.assertEqual(fields[3:5], (2, 0))
        proves("tool-042")
        self.assertEqual(fields[5], b"tool 7".ljust(128, b"\0"))
        proves("tool-041")
        self.assertEqual(fields[6], 1)
        self.assertEqual(fields[8][6] >> 4, 4)  # a version 4 uuid
        self.assertEqual(fields[9], b"a net".ljust(256, b"\0"))
        proves("tool-044")
        self.assertEqual(fields[10], 3)
        proves("tool-045")
        self.assertEqual(fields[11], b"\x01".ljust(64, b"\0"))
        self.assertEqual(fields[12], 0xF)
        proves("tool-047")
        self.assertEqual(fields[13], 1)
        self.assertEqual(fields[14], bytes(432) + seal(data))
        proves("tool-046")

    def test_create_defaults(self):
        payload = tarball(example(), False)
        self.write("in.tar", payload)
        self.assertEqual(self.ok("create", "-i", "in.tar"), "Successfully generated: NN.neff\n")
        fields = struct.unpack("<QQQQQ128sI32s16s256sI64sQI468s", self.read("NN.neff")[:1024])
        self.assertEqual((fields[0], fields[3], fields[4], fields[10], fields[12]), (2, 0, 4, 1, 0))
        self.assertEqual(fields[7], hashlib.md5(payload).digest().ljust(32, b"\0"))
        self.assertEqual(fields[9].rstrip(b"\0"), b"NN")

    def test_create_texts_fill_their_fields(self):
        """A name of 255 bytes and a build version of 127 are kept whole, longer ones are refused."""
        payload = tarball(example(), True)
        self.write("in.tgz", payload)
        for option, field, room in (("--name", 9, 255), ("--tool-version", 5, 127)):
            text = "x" * (room - 2) + "\u00e4"  # the last letter takes two bytes
            self.ok("create", "-i", "in.tgz", option, text)
            fields = struct.unpack("<QQQQQ128sI32s16s256sI64sQI468s", self.read("NN.neff")[:1024])
            self.assertEqual(fields[field], text.encode() + b"\0")
            os.unlink(self.path("NN.neff"))
            code, out, err = run("create", "-i", "in.tgz", option, "x" + text, cwd=self.dir.name)
            self.assertEqual((code, out), (2, ""))
            self.assertRegex(err, "^neuron-packager: .* at most %d bytes\n$" % room)
        code, out, err = run("create", "-i", "in.tgz", "-o", "x" * 256, cwd=self.dir.name)
        self.assertEqual((code, out, err), (2, "", "neuron-packager: the output's name must be at most 255 bytes\n"))
        self.assertEqual(os.listdir(self.dir.name), ["in.tgz"])

    def test_create_wants_a_name_for_its_output(self):
        self.write("in.tgz", tarball(example(), True))
        os.mkdir(self.path("folder"))
        for name in "", "folder/":
            code, out, err = run("create", "-i", "in.tgz", "-o", name, cwd=self.dir.name)
            self.assertEqual((code, out, err),
                             (2, "", 'neuron-packager: the output "%s" has no name\n' % name))
            self.assertEqual(sorted(os.listdir(self.dir.name)), ["folder", "in.tgz"])
            self.assertEqual(os.listdir(self.path("folder")), [])

    def test_create_refuses(self):
        members = example()
        self.write("in.tgz", tarball(members, True))
        for args in (["-r", "3"], ["-r", "x"], ["-k", "2"], ["-k", "2.x"], ["-t", "0"],
                     ["-e", "on-chip-functions"], ["extra"], ["--wrong"]):
            code, out, err = run("create", "-i", "in.tgz", *args, cwd=self.dir.name)
            self.assertEqual((code, out), (2, ""), args)
            self.assertNotEqual(err, "")
        del members["sg00/SP.bin"]
        self.write("bad.tgz", tarball(members, True))
        code, out, err = run("create", "-i", "bad.tgz", cwd=self.dir.name)
        self.assertEqual((code, out, err), (1, "", "neuron-packager: sg00/SP.bin not found in NEFF\n"))
        self.assertEqual(sorted(os.listdir(self.dir.name)), ["bad.tgz", "in.tgz"])

    def test_info(self):
        payload = self.neff("toy.neff", features=0x5)
        self.assertEqual(self.ok("info", "toy.neff"), """\
NEFF Header:
    Package Version:          2
    Header Size (bytes):      1024
    Data Size (bytes):        %d
    Major Version:            2
    Minor Version:            0
    Build Version:            test build
    Number of Neuron cores:   1
    Hash:                     %s
    UUID:                     101112131415161718191a1b1c1d1e1f
    Network Name:             toy
    Enabled Features:         bin-weights,custom-ops

NEFF Nodes:
    NODE      Executor    Name    Variable    Size    Type    Format    Shape    DataType    TimeSeries
       1    NeuronCore    sg00
                                         a     256      IN        NC    [8,8]     float32
                                         b     256      IN        NC    [8,8]     float32
                                         c     256     OUT        NC    [8,8]     float32         false
""" % (len(payload), hashlib.md5(payload).hexdigest()))
        proves("tool-048")
        proves("tool-049")

    def test_info_weights_and_spills(self):
        self.neff("toy.neff", pkg=1)
        out = self.ok("info", "-w", "-s", "toy.neff")
        self.assertIn("    Enabled Features:         N/A\n", out)
        self.assertRegex(out, r"\n    Hash: +[0-9a-f]{64}\n")
        tail = out[out.index("NEFF Weights:"):]
        self.assertEqual(tail, """\
NEFF Weights:
    Subgraph    Variable    Size          File    Shape    DataType
        sg00           w     256    sg00/w.npy    [8,8]     float32

NEFF Spills:
    Subgraph    Variable       Type    Size    Written    Read
        sg00          t0    virtual     256        512     256
        sg00         tmp    tmp-buf     512       1152     256
""")
        self.assertEqual(self.ok("info", "--show-weights", "--show-spills", "toy.neff"), out)
        self.assertNotIn("NEFF Spills", self.ok("info", "-w", "toy.neff"))
        proves("tool-050")
        proves("tool-051")

    def test_info_json(self):
        payload = self.neff("toy.neff", name='a "b"\n'.encode())
        got = json.loads(self.ok("info", "--json-output", "-w", "-s", "toy.neff"))
        self.assertEqual(got, {
            "header": {"package_version": 2, "header_size": 1024, "data_size": len(payload),
                       "major_version": 2, "minor_version": 0, "build_version": "test build",
                       "neuroncore_count": 1, "requested_neuroncore_count": 1, "lnc_size": 1,
                       "hash": hashlib.md5(payload).hexdigest(), "uuid": UUID.hex(),
                       "network_name": 'a "b"?', "enabled_features": []},
            "nodes": [{"node": 1, "executor": "NeuronCore", "name": "sg00", "variables": [
                {"name": n, "size": 256, "type": t, "format": "NC", "shape": [8, 8],
                 "data_type": "float32", "time_series": False}
                for n, t in (("a", "IN"), ("b", "IN"), ("c", "OUT"))]}],
            "weights": [{"subgraph": "sg00", "variable": "w", "size": 256, "file": "sg00/w.npy",
                         "shape": [8, 8], "data_type": "float32"}],
            "spills": [{"subgraph": "sg00", "variable": "t0", "type": "virtual", "size": 256,
                        "written": 512, "read": 256},
                       {"subgraph": "sg00", "variable": "tmp", "type": "tmp-buf", "size": 512,
                        "written": 1152, "read": 256}]})
        self.assertEqual(sorted(json.loads(self.ok("info", "--json-output", "toy.neff"))),
                         ["header", "nodes"])
        proves("tool-052")

    def test_info_of_cpu_nodes_and_of_no_graph(self):
        members = example()
        graph = json.loads(members["neff.json"])
        graph["nodes"].insert(0, {"id": 0, "executor": "CPU", "name": "pre", "library": "f.so",
                                  "function": "f", "inputs": [], "outputs": [
                                      {"name": "a", "size": 256, "shape": [64],
                                       "dtype": "float32", "time_series": True}]})
        members["neff.json"] = json.dumps(graph).encode()
        members["f.so"] = b"\x7fELF"
        self.neff("cpu.neff", members)
        out = self.ok("info", "cpu.neff")
        self.assertIn("       0           CPU     pre\n", out)
        self.assertRegex(out, r"\n +a +256 +OUT +N/A +\[64\] +float32 +true\n")
        del members["neff.json"]
        self.neff("none.neff", members)
        out = self.ok("info", "none.neff")
        self.assertRegex(out, r"\n +a +256 +IN +N/A +N/A +N/A\n")

    def test_info_of_damaged_contents(self):
        members = example()
        members["sg00/SP.json"] = b'{"dma": [}'
        self.neff("bad.neff", members)
        code, out, err = run("info", "bad.neff", cwd=self.dir.name)
        self.assertEqual(code, 1)
        self.assertTrue(out.startswith("NEFF Header:\n"))  # still shown
        self.assertEqual(err, "neuron-packager: sg00/SP.json:1:11: parse error: unallowed token at "
                              "this point in JSON text\n")
        code, out, err = run("info", "missing.neff", cwd=self.dir.name)
        self.assertEqual((code, out, err), (1, "", "neuron-packager: cannot open missing.neff: "
                                                   "No such file or directory\n"))

    def test_info_of_what_is_no_file(self):
        os.mkfifo(self.path("pipe"))
        for name in ".", "pipe", "/dev/zero":
            self.assertEqual(run("info", name, cwd=self.dir.name),
                             (1, "", "neuron-packager: %s is not a regular file\n" % name))

    def test_unpack(self):
        members = example()
        members["empty"] = b""
        payload = self.neff("toy.neff", members)
        self.assertEqual(self.ok("unpack", "toy.neff"),
                         'Unpacking NEFF in "toy" directory...\n')
        got = {}
        for folder, _, files in os.walk(self.path("toy")):
            for name in files:
                full = os.path.join(folder, name)
                with open(full, "rb") as f:
                    got[os.path.relpath(full, self.path("toy"))] = f.read()
        self.assertEqual(got.pop("neff.tgz"), payload)
        proves("tool-057")
        self.assertEqual(got, members)
        proves("tool-055")
        self.assertEqual(self.ok("unpack", "--output", "there", "toy.neff"),
                         'Unpacking NEFF in "there" directory...\n')
        self.assertTrue(os.path.exists(self.path("there/sg00/def.json")))
        proves("tool-056")

    def test_unpack_stays_inside(self):
        """A link planted in the target directory is not followed."""
        self.neff("toy.neff")
        os.mkdir(self.path("outside"))
        os.mkdir(self.path("toy"))
        os.symlink(self.path("outside"), self.path("toy/sg00"))
        code, _, err = run("unpack", "toy.neff", cwd=self.dir.name)
        self.assertEqual(code, 1)
        self.assertIn("cannot write sg00/", err)
        self.assertEqual(os.listdir(self.path("outside")), [])
        payload = tarball({"../up": b"x"}, True)
        self.write("evil.neff", header(payload) + payload)
        code, _, err = run("unpack", "evil.neff", cwd=self.dir.name)
        self.assertEqual((code, err), (1, "neuron-packager: Invalid NEFF member name ../up\n"))
        self.assertFalse(os.path.exists(self.path("up")))

    def test_round_trip(self):
        """create, info, unpack, create again: the payload is identical, the header but for uuid and seal."""
        self.write("in.tgz", tarball(example(), True))
        self.ok("create", "-i", "in.tgz", "-o", "one", "-n", "net", "-k", "2.0")
        self.ok("info", "one.neff")
        self.ok("unpack", "one.neff")
        self.ok("create", "-i", "one/neff.tgz", "-o", "two", "-n", "net", "-k", "2.0")
        one, two = self.read("one.neff"), self.read("two.neff")
        self.assertEqual(one[:204] + one[220:988] + one[1024:],
                         two[:204] + two[220:988] + two[1024:])
        self.assertNotEqual(one[204:220], two[204:220])
        self.assertEqual((one[988:1024], two[988:1024]), (seal(one), seal(two)))

    def test_optimize(self):
        members = example()
        definition = json.loads(members["sg00/def.json"])
        definition["var"]["w2"] = {"type": "file", "var_id": 30, "size": 300, "file_name": "r.raw"}
        definition["var"]["w3"] = dict(definition["var"]["w"], var_id=31)  # the same bytes again
        members["sg00/def.json"] = json.dumps(definition).encode()
        members["sg00/r.raw"] = b"r" * 100
        self.neff("a.neff", members)
        self.neff("b.neff", members, compress=False)
        code, out, err = run("optimize", "a.neff", "b.neff", cwd=self.dir.name)
        warning = ("neuron-packager: warning: var w2: file r.raw has 100 bytes, size is 300; the "
                   "rest is zero\n")
        self.assertEqual(out, "Successfully generated: a_optimized.neff\n"
                              "Successfully generated: b_optimized.neff\n")
        self.assertEqual((code, err), (0, warning * 3))  # a twice: once more when unpacked
        self.assertEqual(sorted(os.listdir(self.dir.name)),
                         ["a.neff", "a_optimized.neff", "b.neff", "b_optimized.neff"])
        data = self.read("a_optimized.neff")
        self.assertEqual(data[1024:], self.read("b_optimized.neff")[1024:])
        want = header(data[1024:], features=1)
        self.assertEqual(data[:1024], want[:988] + seal(data))
        with tarfile.open(fileobj=io.BytesIO(data[1024:]), mode="r:") as tar:
            got = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
        merged = got.pop("sg00/weights.dat")
        new = json.loads(got.pop("sg00/def.json"))
        for name, want in (("w", npy()[128:]), ("w2", b"r" * 100 + bytes(200)),
                           ("w3", npy()[128:])):
            var = new["var"][name]
            self.assertEqual(merged[var["file_off"]:var["file_off"] + var["size"]], want)
            self.assertEqual(var["file_name"], "weights.dat")
        self.assertEqual(new["var"]["w"]["file_off"], new["var"]["w3"]["file_off"])
        for var in new["var"].values():
            var.pop("file_off", None)
            if var["type"] == "file":
                var["file_name"] = definition["var"]["w2" if var["var_id"] == 30 else "w"]["file_name"]
        self.assertEqual(new, definition)
        for name in ("sg00/w.npy", "sg00/r.raw", "sg00/def.json", "debug_info/sg00-sp.json"):
            members.pop(name)
        self.assertEqual(got, members)
        out = self.ok("info", "-w", "a_optimized.neff")
        self.assertRegex(out, r"\n +sg00 +w2 +300 +sg00/weights.dat +N/A +N/A\n")
        proves("tool-053")

        code, out, _ = run("optimize", "--keep-debug", "b.neff", cwd=self.dir.name)
        with tarfile.open(fileobj=io.BytesIO(self.read("b_optimized.neff")[1024:])) as tar:
            self.assertIn("debug_info/sg00-sp.json", tar.getnames())
        proves("tool-054")
        # optimizing what is optimized changes nothing
        self.ok("optimize", "a_optimized.neff")
        self.assertEqual(self.read("a_optimized_optimized.neff")[1024:], data[1024:])

    def test_foreign_engine_code_is_fine(self):
        """Programs of a compiler, without an isa or with one that nobody knows: any bytes, of any length. What info says
        does not depend on them, and the other commands keep each."""
        seed = seed_take()
        draw = random.Random(seed)
        said = None
        for isa in (None, {"name": "kelf", "version": 7}, {"name": "opennrt", "version": 9}):
            members = example()
            definition = json.loads(members["sg00/def.json"])
            if isa:
                definition["isa"] = isa
            members["sg00/def.json"] = json.dumps(definition).encode()
            programs = {name: draw.randbytes(1 + draw.randrange(5000)) for name in members if name.endswith(".bin")}
            self.assertEqual(len(programs), 5)
            members.update(programs)
            self.neff("x.neff", members)
            info = json.loads(self.ok("info", "--json-output", "x.neff"))
            nodes = {k: v for k, v in info.items() if k != "header"}
            self.assertEqual(nodes, said or nodes, seed)
            said = nodes
            self.ok("info", "x.neff")
            self.ok("unpack", "x.neff")
            for name, code in programs.items():
                self.assertEqual(self.read("x/" + name), code, (seed, name))
            self.ok("create", "-i", "x/neff.tgz", "-o", "again")
            self.ok("optimize", "x.neff")
            for made in ("again.neff", "x_optimized.neff"):
                with tarfile.open(fileobj=io.BytesIO(self.read(made)[1024:])) as tar:
                    for name, code in programs.items():
                        self.assertEqual(tar.extractfile(name).read(), code, (seed, made, name))

    def test_hostile_texts(self):
        """What stands in the header reaches neither the terminal nor JSON as it is."""
        self.neff("x.neff")
        with open(os.path.join(self.dir.name, "x.neff"), "r+b") as f:
            f.seek(220)
            f.write(b'a\xff\x1b[31m"\xc3')
        self.assertEqual(json.loads(self.ok("info", "--json-output", "x.neff"))["header"]
                         ["network_name"][:9], 'a??[31m"?')
        self.assertNotIn("\x1b", self.ok("info", "x.neff"))

    def test_usage(self):
        for args in ([], ["fly"], ["info"], ["unpack"], ["optimize"], ["create"], ["info", "-x", "a"]):
            code, out, err = run(*args, cwd=self.dir.name)
            self.assertEqual((code, out), (2, ""))
            self.assertIn("usage: neuron-packager", err)
        self.assertIn("neuron-packager info: invalid option", err)
        for args in (["-h"], ["info", "--help"], ["create", "-h"], ["optimize", "-h"], ["unpack", "-h"]):
            self.assertIn("usage: neuron-packager", self.ok(*args))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
