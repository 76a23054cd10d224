"""Sixteen float32 lanes as one numba type: LLVM keeps them in one AVX-512 register, two AVX2 or four NEON ones.

Auto-vectorised numba reached half of this in the scan; an explicit vector type leaves nothing to the vectoriser.
Memory is addressed as (address, element index): numba arrays would cost bounds, strides and boxing in every call.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from dnamamba.kernels.cpu_jobs import LANES

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_F32 = ir.FloatType()
VECTOR = ir.VectorType(_F32, LANES)
_INDICES = ir.VectorType(_I32, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)


class _Lanes(types.Type):
    def __init__(self) -> None:
        super().__init__(name="float32x16")


lanes = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, VECTOR)


def constant(value: float) -> ir.Constant:
    """The same number in all lanes."""
    return ir.Constant(VECTOR, [float(value)] * LANES)


def integers(values: list[int]) -> ir.Constant:
    """One 32-bit integer a lane."""
    return ir.Constant(_INDICES, values)


def external(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic by its full name."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    return builder.call(function, arguments)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""
    return external(builder, "llvm.fma.v16f32", VECTOR, [a, b, c])


def splat(builder: Any, scalar: Any) -> Any:
    """A scalar in all lanes."""
    undefined = ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, integers([0] * LANES))


def _pointer(builder: Any, address: Any, index: Any, kind: Any = VECTOR, size: int = 4) -> Any:
    return builder.inttoptr(builder.add(address, builder.mul(index, ir.Constant(_I64, size))), kind.as_pointer())


def _mask(builder: Any, count: Any) -> Any:
    return builder.icmp_signed("<", integers(list(range(LANES))), splat(builder, builder.trunc(count, _I32)))


def lane_function(arguments: int, emit: Callable[..., Any]) -> Any:
    """A numba intrinsic over `arguments` vectors, whose code `emit(builder, *vectors)` writes."""

    def typed(*numba_types: Any) -> Any:
        return lanes(*[lanes] * arguments), lambda context, builder, sig, args: emit(builder, *args)

    one = lambda typingctx, a: typed(a)  # noqa: E731
    two = lambda typingctx, a, b: typed(a, b)  # noqa: E731
    three = lambda typingctx, a, b, c: typed(a, b, c)  # noqa: E731
    return intrinsic({1: one, 2: two, 3: three}[arguments])


def lockstep_function(emit: Callable[[Any, list[Any]], list[Any]]) -> Any:
    """A numba intrinsic from four vectors to a tuple of four, whose code `emit(builder, vectors)` writes."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_tuple(builder, sig.return_type, emit(builder, list(args)))

    def four(typingctx, a, b, c, d):  # type: ignore[no-untyped-def]
        return types.UniTuple(lanes, 4)(lanes, lanes, lanes, lanes), lower

    return intrinsic(four)


def _register_operator(symbol: Any, emit: Callable[[Any, Any, Any], Any]) -> None:
    @infer_global(symbol)
    class _Template(ConcreteTemplate):
        cases = [signature(lanes, lanes, lanes)]  # noqa: RUF012

    lower_builtin(symbol, lanes, lanes)(lambda context, builder, sig, args: emit(builder, *args))


_register_operator(operator.add, lambda builder, a, b: builder.fadd(a, b))
_register_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_register_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_register_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))

fma = lane_function(3, fused)
square_root = lane_function(1, lambda builder, a: external(builder, "llvm.sqrt.v16f32", VECTOR, [a]))


def _fold(builder: Any, a: Any) -> Any:
    for distance in (8, 4, 2, 1):
        turned = builder.shuffle_vector(a, a, integers([i ^ distance for i in range(LANES)]))
        a = builder.fadd(a, turned)
    return a


lane_sum = lane_function(1, _fold)  # the sum over the lanes, in all lanes


@intrinsic  # type: ignore[untyped-decorator]
def zeros(typingctx: Any) -> Any:
    """Zero in all lanes."""
    return lanes(), lambda context, builder, sig, args: constant(0.0)


@intrinsic  # type: ignore[untyped-decorator]
def broadcast(typingctx: Any, value: Any) -> Any:
    """One number, rounded to float32, in all lanes."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return splat(builder, builder.fptrunc(args[0], _F32))

    return lanes(types.float64), emit


@intrinsic  # type: ignore[untyped-decorator]
def load(typingctx: Any, address: Any, index: Any) -> Any:
    """Sixteen floats from `index` on."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(builder, args[0], args[1]))
        value.align = 4
        return value

    return lanes(types.intp, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def store(typingctx: Any, address: Any, index: Any, value: Any) -> Any:
    """Write sixteen floats from `index` on."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(builder, args[0], args[1])).align = 4
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, lanes), emit


@intrinsic  # type: ignore[untyped-decorator]
def load_some(typingctx: Any, address: Any, index: Any, count: Any) -> Any:
    """The first `count` of sixteen floats from `index` on, zeros in the other lanes; no memory past them is read."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(builder, args[0], args[1])
        arguments = [pointer, ir.Constant(_I32, 4), _mask(builder, args[2]), constant(0.0)]
        return external(builder, "llvm.masked.load.v16f32.p0", VECTOR, arguments)

    return lanes(types.intp, types.intp, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def store_some(typingctx: Any, address: Any, index: Any, value: Any, count: Any) -> Any:
    """Write the first `count` lanes."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(builder, args[0], args[1])
        # A whole vector is the rule, and a masked store costs an AMD processor without AVX-512 13 times a plain one.
        with builder.if_else(builder.icmp_signed(">=", args[3], ir.Constant(_I64, LANES))) as (whole, part):
            with whole:
                builder.store(args[2], pointer).align = 4
            with part:
                arguments = [args[2], pointer, ir.Constant(_I32, 4), _mask(builder, args[3])]
                external(builder, "llvm.masked.store.v16f32.p0", ir.VoidType(), arguments)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, lanes, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def load_broadcast(typingctx: Any, address: Any, index: Any) -> Any:
    """One float in all lanes; arithmetic instructions take it straight from memory."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(builder, args[0], args[1], _F32))
        value.align = 4
        return splat(builder, value)

    return lanes(types.intp, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def load_byte(typingctx: Any, address: Any, index: Any) -> Any:
    """One unsigned byte."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte = builder.load(_pointer(builder, args[0], args[1], ir.IntType(8), 1))
        return builder.zext(byte, _I64)

    return types.intp(types.intp, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typingctx: Any, address: Any, index: Any) -> Any:
    """Ask for the cache line of element `index`; harmless past the end."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _pointer(builder, args[0], args[1], ir.IntType(8))
        hints = [ir.Constant(_I32, hint) for hint in (0, 3, 1)]  # read, keep in every level, data
        external(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *hints])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), emit


def _fold_rows(builder: Any, rows: list[Any], segment: int) -> Any:
    """Two rows become one until one is left: the halves of every segment are added, the segments of both rows kept."""
    while len(rows) > 1:
        half = segment // 2
        first = [s + i for s in range(0, 2 * LANES, segment) for i in range(half)]
        pairs = [(rows[i], rows[i + 1]) for i in range(0, len(rows), 2)]
        rows = [
            builder.fadd(
                builder.shuffle_vector(a, b, integers(first)),
                builder.shuffle_vector(a, b, integers([i + half for i in first])),
            )
            for a, b in pairs
        ]
        segment = half
    return rows[0]


def _fold_intrinsic(segment: int) -> Any:
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _fold_rows(builder, list(args), segment)

    def four(typingctx, a, b, c, d):  # type: ignore[no-untyped-def]
        return lanes(lanes, lanes, lanes, lanes), lower

    return intrinsic(four)


# The sums of the sixteen lanes of four vectors in two halves of the work: `quarter_sums` leaves four partial sums of
# each, vector after vector; `final_sums` of four such results is the sixteen sums.
quarter_sums = _fold_intrinsic(LANES)
final_sums = _fold_intrinsic(LANES // 4)


@intrinsic  # type: ignore[untyped-decorator]
def choose_above(typingctx: Any, value: Any, bound: Any, above: Any, otherwise: Any) -> Any:
    """Lane by lane: `above` where value > bound, else (also for a NaN) `otherwise`."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return lanes(lanes, lanes, lanes, lanes), emit


@intrinsic  # type: ignore[untyped-decorator]
def any_above(typingctx: Any, value: Any, bound: Any) -> Any:
    """Whether any lane of value is > that of bound."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        above = builder.fcmp_ordered(">", args[0], args[1])
        return builder.icmp_unsigned("!=", builder.bitcast(above, ir.IntType(LANES)), ir.IntType(LANES)(0))

    return types.boolean(lanes, lanes), emit
