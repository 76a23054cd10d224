#!/usr/bin/env bash
# What is measured on GPUs, in three parts of ten minutes or more on four H200: tests, benchmarks, what sweeps show.
#
#     OUT=results DATA=real_files bash tests/benchmarks/all_on_gpus.sh 1|2|3
#
# DATA holds the files of DNAMAMBA_TEST_DATA. With fewer than four GPUs (GPUS=n) lanes share one: rates then say nothing.
# Every job writes OUT/logs/NAME.log and is stopped by Ctrl-C after SECONDS_AT_MOST (540) of the part; what can be resumed
# is, by the same part started once more. Jobs that are timed have a GPU of their own.
set -uo pipefail
cd "$(dirname "$0")/../.."
part=${1:?want a part: 1, 2 or 3}
out=${OUT:?want OUT, a folder for logs and results} data=${DATA:?want DATA, the folder of the real files}
gpus=${GPUS:-4} limit=${SECONDS_AT_MOST:-540}
here=tests/benchmarks
export PYTHONUNBUFFERED=1 MPLBACKEND=Agg DNAMAMBA_TEST_DATA="$data"
mkdir -p "$out/logs"

# job LANE[,LANE] NAME COMMAND...: on these GPUs, until the time is up
job() {
    local lanes=$1 name=$2 devices="" lane left began=$SECONDS
    shift 2
    for lane in ${lanes//,/ }; do devices+=${devices:+,}$((lane % gpus)); done
    left=$((limit - SECONDS))
    [ "$left" -gt 10 ] || { echo "$name: no time left"; return; }
    CUDA_VISIBLE_DEVICES=$devices timeout -s INT -k 20 "$left" "$@" > "$out/logs/$name.log" 2>&1
    echo "$name: exit $? after $((SECONDS - began)) s"
}

case $part in
1)
    ( job 0 scan python $here/bench_selective_scan.py --json "$out/selective_scan.jsonl"
      job 0 train_step python $here/bench_train_step.py --json "$out/train_step.jsonl"
      job 0 data_wait python $here/bench_data_wait.py --steps 16 --json "$out/data_wait.jsonl" ) &
    ( job 1,2 tests_parallel python -m pytest -q -n 0 tests/gpu/test_gpu_parallel.py
      job 1,2 parallel python -m torch.distributed.run --nproc-per-node 2 $here/bench_parallel.py \
          --json "$out/parallel_step.jsonl"
      job 1 kill python tests/gpu/kill_and_resume.py --tokens 6M ) &
    ( job 3 tests_scan python -m pytest -q -n 0 tests/gpu/test_gpu_scan.py --durations 5
      job 3 tests python -m pytest -q -n 0 tests/gpu --durations 5 \
          --deselect tests/gpu/test_gpu_parallel.py --deselect tests/gpu/test_gpu_scan.py ) &
    ;;
2)
    ( job 0 long_context python $here/bench_long_context.py --json "$out/long_context.jsonl" --cases \
          "128x12 1x1048576" "128x12 1x4194304" "128x12 1x16777216" "256x16 1024x1024" "256x16 64x16384" \
          "256x16 8x131072" "256x16 1x1048576" "256x16 1x4194304" "256x16 1x16777216"
      job 0 chromosome python $here/bench_long_context.py --chromosome --memory lean --json "$out/long_context.jsonl" ) &
    ( job 1 apes python $here/show_sweeps.py apes --out "$out/apes" ) &
    for seed in 1 2; do
        job $((seed + 1)) induction$seed python -m dnamamba task induction-heads --mixer mamba --steps 100000 --seed $seed \
            --out "$out/induction$seed" &
    done
    ;;
3)
    ( job 0,1 sizes python $here/show_sweeps.py sizes --out "$out/sizes" ) &
    ( job 2 train python $here/show_sweeps.py train --out "$out/apes" --start "$out/apes/model" --jobs 3 ) &
    ( job 3 real python $here/show_sweeps.py real --data "$data" --out "$out/real"
      job 3 curriculum python $here/show_curriculum.py --data "$data" --out "$out/curriculum" ) &
    ;;
*) echo "want a part: 1, 2 or 3; got $part" >&2; exit 2 ;;
esac
wait
