# SPDX-License-Identifier: Apache-2.0
"""Instruction records as Python objects, and their 320 bytes (docs/isa.md)."""
import dataclasses
import struct
from typing import List, Optional, Tuple

NO_REG = 0xff
SBUF, PSUM, HBM = 1, 2, 3
PE, DVE, ACT, POOL, SP = range(5)

OPCODES = dict(
    nop=0x01, sem_range_clear=0x02, drain=0x03, end=0x04, register_move=0x05, register_alu=0x06,
    register_load=0x07, register_store=0x08, branch=0x09, dma_trigger=0x0a, dma_dyn=0x0b,
    core_barrier=0x0c, nc_matmul=0x20, nc_transpose=0x22, tensor_copy=0x30,
    tensor_copy_predicated=0x31, memset=0x32, tensor_tensor=0x33, tensor_scalar=0x34,
    scalar_tensor_tensor=0x35, activation=0x36, activation_reduce=0x37, reciprocal=0x3a,
    dropout=0x3b, nc_stream_shuffle=0x3c, tensor_reduce=0x40, tensor_partition_reduce=0x41,
    tensor_scalar_reduce=0x42, affine_select=0x48, range_select=0x49, select_reduce=0x4a,
    max8=0x50, nc_find_index8=0x51, nc_match_replace8=0x52, nc_n_gather=0x56, bn_stats=0x58,
    bn_aggr=0x59, iota=0x5a, rng=0x60, set_rng_seed=0x62)
SEQUENCER = {"sem_range_clear", "register_move", "register_alu", "register_load",
             "register_store", "branch", "dma_trigger", "core_barrier"}

ALU = ("none bypass add subtract multiply max min eq ne ge gt le lt logical_and logical_or "
       "logical_xor logical_not power abs_max abs_min abs square relu rsqrt reciprocal average "
       "invert bit_and bit_or bit_xor shl shr").split()
BIT_OPS = {"invert", "bit_and", "bit_or", "bit_xor", "shl", "shr"}
UNARY = {"bypass", "logical_not", "abs", "square", "relu", "rsqrt", "reciprocal", "invert"}
COMPARE = {"eq", "ne", "ge", "gt", "le", "lt"}
ACTS = ("copy square sigmoid relu prelu gelu gelu_dx gelu_apprx_tanh gelu_apprx_sigmoid "
        "gelu_apprx_sigmoid_dx silu silu_dx tanh softplus mish erf erf_dx exp log sin arctan sqrt "
        "rsqrt reciprocal sign abs").split()
REDUCE_CMD = "idle reset reduce reset_reduce load_reduce".split()
REG_OPS = "add sub mul and or xor shl shr sar min max".split()
CONDS = "always lt le eq ne ge gt".split()
WAITS = "none sem_ge sem_eq event_set event_clear".split()
UPDATES = "none inc dec add sub write event_set event_clear".split()


@dataclasses.dataclass
class Tensor:
    """An operand in SBUF or PSUM. dims: (step, num), fastest first, in elements."""
    mem: int
    dtype: int
    part: int
    nparts: int
    offset: int
    dims: List[Tuple[int, int]]
    off_reg: int = NO_REG
    off_mul: int = 0

    @property
    def count(self):
        n = 1
        for _, num in self.dims:
            n *= num
        return n

    def pack(self):
        dims = b"".join(struct.pack("<hH", s, n) for s, n in self.dims)
        return (struct.pack("<BBBBI", self.mem, self.dtype, self.part, self.nparts, self.offset)
                + dims.ljust(16, b"\0")
                + struct.pack("<BBBBi", len(self.dims), self.off_reg, 0, 0, self.off_mul))


@dataclasses.dataclass
class Scalar:
    """kind: f32 (v = bits), i32 (v = int), reg (v = number) or tile (v = byte offset)."""
    kind: str
    v: int
    mem: int = 0
    dtype: int = 0
    part: int = 0

    def pack(self):
        kind = ("none", "f32", "i32", "reg", "tile").index(self.kind)
        return struct.pack("<BBBBI", kind, self.mem, self.dtype, self.part, self.v & 0xffffffff)


@dataclasses.dataclass
class Pattern:
    offset: int
    channel_multiplier: int
    dims: List[Tuple[int, int]]
    off_reg: int = NO_REG

    def pack(self):
        steps = [s for s, _ in self.dims] + [0] * (4 - len(self.dims))
        nums = [n for _, n in self.dims] + [0] * (4 - len(self.dims))
        return struct.pack("<iBBxxi4i4H", self.offset, self.off_reg, len(self.dims),
                           self.channel_multiplier, *steps, *nums)


@dataclasses.dataclass
class Hbm:
    """An operand in HBM; bound_bytes 0 means the whole variable."""
    var_id: int
    dtype: int
    offset: int
    dims: List[Tuple[int, int]]
    off_reg: int = NO_REG
    off_mul: int = 0
    bound_first: int = 0
    bound_bytes: int = 0

    def pack(self):
        steps = [s for s, _ in self.dims] + [0] * (4 - len(self.dims))
        nums = [n for _, n in self.dims] + [0] * (4 - len(self.dims))
        return struct.pack("<IBBBxq4q4IiIQQ", self.var_id, self.dtype, len(self.dims),
                           self.off_reg, self.offset, *steps, *nums, self.off_mul, 0,
                           self.bound_first, self.bound_bytes)


@dataclasses.dataclass
class Wait:
    kind: str
    index: int
    value: int = 0
    reg: int = NO_REG

    def pack(self):
        return struct.pack("<BBBxi", WAITS.index(self.kind), self.index, self.reg, self.value)


@dataclasses.dataclass
class Update:
    kind: str
    index: int
    value: int = 0
    reg: int = NO_REG
    at_read: bool = False
    peer: bool = False

    def pack(self):
        return struct.pack("<BBBBi", UPDATES.index(self.kind), self.index, self.reg,
                           self.at_read + 2 * self.peer, self.value)


@dataclasses.dataclass
class Record:
    """One instruction. Fields that a function does not use keep their defaults."""
    op: str
    engine: int
    t: List[Optional[Tensor]] = dataclasses.field(default_factory=list)
    s: List[Optional[Scalar]] = dataclasses.field(default_factory=list)
    waits: List[Wait] = dataclasses.field(default_factory=list)
    updates: List[Update] = dataclasses.field(default_factory=list)
    op0: str = "none"
    op1: str = "none"
    reduce_op: str = "none"
    reduce_cmd: str = "idle"
    reverse: int = 0
    act: str = "copy"
    naxes: int = 0
    negate: int = 0
    acc: int = 0
    transpose: int = 0
    reverse_pred: int = 0
    cmp0: str = "none"
    cmp1: str = "none"
    pattern: Optional[Pattern] = None
    mask: Optional[bytes] = None
    # sequencer
    seq_op: str = ""
    rd: int = 0
    ra: int = 0
    rb: int = NO_REG
    imm: int = 0
    target: int = 0
    first: int = 0
    count: int = 0
    place: object = None
    # dynamic transfer
    src: object = None
    dst: object = None
    dyn_op: int = 0
    mode: int = 0
    index_side: int = 0
    index: Optional[Tensor] = None
    oob_reg: int = NO_REG
    oob: int = 0
    queue: int = 0
    semaphore: int = -1

    def _compute(self):
        body = b"".join(t.pack() if t else bytes(32) for t in self.t).ljust(160, b"\0")
        body += b"".join(s.pack() if s else bytes(8) for s in self.s).ljust(24, b"\0")
        body += struct.pack("<20B", ALU.index(self.op0), ALU.index(self.op1),
                            ALU.index(self.reduce_op), REDUCE_CMD.index(self.reduce_cmd),
                            self.reverse, ACTS.index(self.act), self.naxes, self.negate, self.acc,
                            self.transpose, 0, self.reverse_pred, ALU.index(self.cmp0),
                            ALU.index(self.cmp1), 0, 0, 0, 0, 0, 0)
        extra = self.pattern.pack() if self.pattern else (self.mask or b"")
        return body + extra.ljust(44, b"\0")

    def _place(self, place):
        if place is None:
            return 0, bytes(88)
        if isinstance(place, Hbm):
            return HBM, place.pack()
        return place.mem, place.pack().ljust(88, b"\0")

    def _sequencer(self):
        names = CONDS if self.op == "branch" else REG_OPS
        number = names.index(self.seq_op) if self.seq_op else 0
        mem, place = self._place(self.place)
        listed = self.op in ("register_move", "register_alu") or (
            self.op == "branch" and self.seq_op != "always")
        rb = self.rb if listed else 0
        return struct.pack("<BBBBiIHHB7x", number, self.rd, self.ra, rb, self.imm,
                           self.target, self.first, self.count, mem) + place

    def _dynamic(self):
        src_mem, src = self._place(self.src)
        dst_mem, dst = self._place(self.dst)
        return (src + dst + struct.pack("<BBBBBBBxHh", src_mem, dst_mem, self.dyn_op, self.mode,
                                        self.index_side, self.oob_reg, self.oob, self.queue,
                                        self.semaphore)
                + (self.index.pack() if self.index else bytes(32)))

    def pack(self):
        head = struct.pack("<HBBBBxx", OPCODES[self.op], 1, self.engine, len(self.waits),
                           len(self.updates))
        head += b"".join(w.pack() for w in self.waits).ljust(32, b"\0")
        head += b"".join(u.pack() for u in self.updates).ljust(32, b"\0")
        if self.op in ("nop", "drain", "end"):
            body = b""
        elif self.op in SEQUENCER:
            body = self._sequencer()
        elif self.op == "dma_dyn":
            body = self._dynamic()
        else:
            body = self._compute()
        out = head + body.ljust(248, b"\0")
        assert len(out) == 320, (self.op, len(out))
        return out
