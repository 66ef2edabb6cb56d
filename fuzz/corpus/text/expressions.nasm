const A = 3
const B = 4
sp:
r1 = 1 + 2 * 3
r1 = (1 + 2) * 3
r1 = 10 - 4 - 3
r1 = 100 / 7 / 2
r1 = -7 / 2
r1 = -7 % 3
r1 = 1 << 4 | 3
r1 = 0xff & 0x0f ^ 1
r1 = ~5
r1 = -8 >> 1
r1 = 1_000
r1 = 3 < 4
r1 = 3 >= 4
r1 = 3 == 3 && 2 != 2
r1 = 0 || 5
r1 = !3
r1 = 1 ? 2 : 3
r1 = 0 ? 2 : 1 ? 4 : 5
r1 = min(3, 2) + max(4, 9)
r1 = cdiv(7, 2) + align(65, 64)
r1 = sizeof(bf16) * sizeof(f32)
r1 = int(2.9) + int(-2.9)
r1 = int(1e3 * 2.5)
r1 = int(sqrt(81.0) + exp(0.0) + log(1.0) + float(2))
r1 = int(pi * 100)
r1 = 1.5 < 2
r1 = 2.0 == 2
r1 = A + A * B
r1 = -(-3)
r1 = +4
r1 = inf > 1 ? 1 : 0
r1 = nan == nan
r1 = core
r1 = int(7.0 - 0.5 / 0.25)
r1 = 2147483647
r1 = -2147483648
