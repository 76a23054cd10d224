"""exp2, softplus, sigmoid and SiLU on sixteen lanes, without a vector math library (the wheels of numba ship none).

Coefficients: least relative error by iterated reweighted least squares; errors are stated beside them.
"""

import math
from typing import Any

from dnamamba.kernels.cpu_jobs import LANES
from dnamamba.kernels.cpu_vector import VECTOR, constant, external, fused, integers, lane_function

LOG2_E = math.log2(math.e)

# 2^f = 1 + f P(f) on [-1/2, 1/2]: relative error 9.2e-8, and towards 0 it shrinks with f, so slow decays stay exact.
_EXP2 = (0.6931470106, 0.2402224260, 0.05550733573, 0.009671512777, 0.001326472747)
# atanh(s) = s (1 + w P(w)), w = s^2 in [0, 1/9]: relative error 4.5e-9.
_ATANH = (0.33333208142862786, 0.20010763618337496, 0.1400090265095449, 0.1400599335646471)
_ROUND = 1.5 * 2.0**23  # adding it rounds to an integer and leaves that integer in the low bits


def _horner(builder: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    value = constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = fused(builder, value, x, constant(coefficient))
    return value


def _clamp(builder: Any, x: Any, low: float, high: float) -> Any:
    # A NaN takes the bound; what it multiplies holds the NaN as well.
    x = builder.select(builder.fcmp_ordered(">", x, constant(low)), x, constant(low))
    return builder.select(builder.fcmp_ordered("<", x, constant(high)), x, constant(high))


def _exp2(builder: Any, v: Any) -> Any:
    # -127 makes the exponent field 0, which is exactly 0.0; 128 makes it 255, which is infinity.
    v = _clamp(builder, v, -127.0, 128.0)
    shifted = builder.fadd(v, constant(_ROUND))
    f = builder.fsub(v, builder.fsub(shifted, constant(_ROUND)))
    power = _horner(builder, f, (1.0, *_EXP2))
    exponent = builder.shl(builder.bitcast(shifted, integers([0] * LANES).type), integers([23] * LANES))
    bits = builder.add(builder.bitcast(power, exponent.type), exponent)
    return builder.bitcast(bits, VECTOR)


def _falling(builder: Any, v: Any) -> Any:
    """exp(-|v|)."""
    magnitude = external(builder, "llvm.fabs.v16f32", VECTOR, [v])
    return _exp2(builder, builder.fmul(magnitude, constant(-LOG2_E)))


def _softplus(builder: Any, v: Any) -> Any:
    """max(v, 0) + log1p(exp(-|v|)): right to the last digits at any v, where log(1 + exp(v)) is 6% off at 1e-6."""
    u = _falling(builder, v)
    s = builder.fdiv(u, builder.fadd(u, constant(2.0)))
    w = builder.fmul(s, s)
    tail = fused(builder, builder.fmul(w, s), _horner(builder, w, _ATANH), s)
    # The comparison is written so that a NaN stays a NaN.
    positive = builder.select(builder.fcmp_ordered("<=", v, constant(0.0)), constant(0.0), v)
    return builder.fadd(positive, builder.fadd(tail, tail))


def _sigmoid(builder: Any, v: Any) -> Any:
    u = _falling(builder, v)
    reciprocal = builder.fdiv(constant(1.0), builder.fadd(u, constant(1.0)))
    value = builder.select(builder.fcmp_ordered("<", v, constant(0.0)), builder.fmul(u, reciprocal), reciprocal)
    return builder.select(builder.fcmp_unordered("uno", v, v), v, value)


exp2 = lane_function(1, _exp2)
softplus = lane_function(1, _softplus)
sigmoid = lane_function(1, _sigmoid)
silu = lane_function(1, lambda builder, v: builder.fmul(v, _sigmoid(builder, v)))
