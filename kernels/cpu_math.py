"""exp2, softplus, sigmoid and SiLU on sixteen lanes, without a vector math library (the wheels of numba ship none).

Every function is written over several vectors in lockstep: each is a chain of 10 to 25 dependent instructions, and a
processor looks too few instructions ahead to overlap chains that stand one after the other.
Coefficients: least relative error by iterated reweighted least squares; errors are stated beside them.
"""

import math
from typing import Any

from dnamamba.kernels.cpu_jobs import LANES
from dnamamba.kernels.cpu_vector import VECTOR, constant, external, fused, integers, lane_function, lockstep_function

LOG2_E = math.log2(math.e)
Vectors = list[Any]

# 2^f = 1 + f P(f) on [-1/2, 1/2]: relative error 9.2e-8, and towards 0 it shrinks with f, so slow decays stay exact.
_EXP2 = (0.6931470106, 0.2402224260, 0.05550733573, 0.009671512777, 0.001326472747)
# log1p(u) = u P(u) on [0, 1]: relative error 3.0e-8, 1.8e-7 with rounding. One division would cost as much.
_LOG1P = (
    0.9999999698829451, -0.49999493154776475, 0.3331909698202291, -0.24842983155999532, 0.19106009404387717,
    -0.13663249877772793, 0.07822598619139817, -0.029505252960493486, 0.005232696343017754,
)  # fmt: skip
_ROUND = 1.5 * 2.0**23  # adding it rounds to an integer and leaves that integer in the low bits


def _horner(builder: Any, xs: Vectors, coefficients: tuple[float, ...]) -> Vectors:
    values = [constant(coefficients[-1])] * len(xs)
    for coefficient in coefficients[-2::-1]:
        values = [fused(builder, value, x, constant(coefficient)) for value, x in zip(values, xs, strict=True)]
    return values


def _clamp(builder: Any, x: Any, low: float, high: float) -> Any:
    # A NaN takes the bound; what it multiplies holds the NaN as well.
    x = builder.select(builder.fcmp_ordered(">", x, constant(low)), x, constant(low))
    return builder.select(builder.fcmp_ordered("<", x, constant(high)), x, constant(high))


def _reduce(builder: Any, vs: Vectors) -> tuple[Vectors, Vectors]:
    """v = n + f: f in [-1/2, 1/2], and n as the integer to add to a float's exponent field."""
    # -127 makes the exponent field of 1.0 zero, which is exactly 0.0; 128 makes it 255, which is infinity.
    vs = [_clamp(builder, v, -127.0, 128.0) for v in vs]
    shifted = [builder.fadd(v, constant(_ROUND)) for v in vs]
    fs = [builder.fsub(v, builder.fsub(s, constant(_ROUND))) for v, s in zip(vs, shifted, strict=True)]
    bits = integers([0] * LANES).type
    return fs, [builder.shl(builder.bitcast(s, bits), integers([23] * LANES)) for s in shifted]


def _scale(builder: Any, power: Any, exponent: Any) -> Any:
    return builder.bitcast(builder.add(builder.bitcast(power, exponent.type), exponent), VECTOR)


def _exp2(builder: Any, vs: Vectors) -> Vectors:
    fs, exponents = _reduce(builder, vs)
    powers = _horner(builder, fs, (1.0, *_EXP2))
    return [_scale(builder, power, exponent) for power, exponent in zip(powers, exponents, strict=True)]


def _exp2_less_one(builder: Any, vs: Vectors) -> Vectors:
    """2^v - 1, right to the last digits near 0."""
    fs, exponents = _reduce(builder, vs)
    results = []
    for f, exponent, factor in zip(fs, exponents, _horner(builder, fs, _EXP2), strict=True):
        small = builder.fmul(f, factor)
        power = _scale(builder, builder.fadd(small, constant(1.0)), exponent)
        whole = builder.icmp_signed("!=", exponent, integers([0] * LANES))
        results.append(builder.select(whole, builder.fsub(power, constant(1.0)), small))
    return results


def _falling(builder: Any, vs: Vectors) -> Vectors:
    """exp(-|v|)."""
    magnitudes = [external(builder, "llvm.fabs.v16f32", VECTOR, [v]) for v in vs]
    return _exp2(builder, [builder.fmul(magnitude, constant(-LOG2_E)) for magnitude in magnitudes])


def _softplus(builder: Any, vs: Vectors) -> Vectors:
    """max(v, 0) + log1p(exp(-|v|)): right to the last digits at any v, where log(1 + exp(v)) is 6% off at 1e-6."""
    us = _falling(builder, vs)
    # The comparison is written so that a NaN stays a NaN.
    positives = [builder.select(builder.fcmp_ordered("<=", v, constant(0.0)), constant(0.0), v) for v in vs]
    factors = _horner(builder, us, _LOG1P)
    return [fused(builder, u, factor, v) for u, factor, v in zip(us, factors, positives, strict=True)]


def _sigmoid(builder: Any, vs: Vectors) -> Vectors:
    us = _falling(builder, vs)
    tops = [
        builder.select(builder.fcmp_ordered("<", v, constant(0.0)), u, constant(1.0))
        for v, u in zip(vs, us, strict=True)
    ]
    values = [builder.fdiv(top, builder.fadd(u, constant(1.0))) for top, u in zip(tops, us, strict=True)]
    return [builder.select(builder.fcmp_unordered("uno", v, v), v, s) for v, s in zip(vs, values, strict=True)]


def _silu(builder: Any, vs: Vectors) -> Vectors:
    return [builder.fmul(v, s) for v, s in zip(vs, _sigmoid(builder, vs), strict=True)]


exp2 = lane_function(1, lambda builder, v: _exp2(builder, [v])[0])
exp2_less_one = lane_function(1, lambda builder, v: _exp2_less_one(builder, [v])[0])
softplus = lane_function(1, lambda builder, v: _softplus(builder, [v])[0])
sigmoid = lane_function(1, lambda builder, v: _sigmoid(builder, [v])[0])
silu = lane_function(1, lambda builder, v: _silu(builder, [v])[0])

# Of four vectors each.
softplus_four = lockstep_function(_softplus)
sigmoid_four = lockstep_function(_sigmoid)
silu_four = lockstep_function(_silu)

exp2_four = lockstep_function(_exp2)
