#!/usr/bin/env bash
# All that docs/variants.md shows of a real model, on one GPU: train it on real genomes that hold nothing of human chr1 and
# chr20, then score. About eight minutes on an H200.
#     tests/benchmarks/variants_on_gpu.sh DATA OUT [MODEL]
# DATA holds the real genome files; with MODEL nothing is trained.
set -euo pipefail
data=$1 out=$2 model=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
export PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}"
dnamamba() { python -m dnamamba "$@"; }
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

if [ -z "$model" ]; then
    step "ingest"
    for genome in human/hg38.chr2_1-2333275 human/hg38.chr22_32000001-32300000 nuclear/human.ENm001.hg16 \
        nuclear/macaque.ENm001 nuclear/baboon.ENm001 nuclear/marmoset.ENm001 \
        nuclear/chimp.Pan_tro_3.0.X_genes nuclear/gorilla.gorGor4.X_genes; do
        dnamamba genome ingest "$data/$genome.fa.gz" --store "$out/store" --overwrite
    done
    # Two of its contigs have the same first word.
    dnamamba genome ingest "$data/nuclear/chimp.ENm001.panTro1.fa.gz" --names full --store "$out/store" --overwrite
    step "train 128 x 12"
    model=$out/run
    dnamamba pretrain --store "$out/store" --out "$model" model.d_model=128 model.n_layers=12 \
        'curriculum.stages=[{context: 1k, share: 0.5}, {context: 16k, share: 0.5}]' \
        curriculum.tokens_per_step=256k "curriculum.total_tokens=${TOKENS:-300M}" 'evaluation.contexts=[1k, 16k]'
fi

step "what the scores are worth"
python "$here/variant_effects.py" --model "$model" --data "$data" --out "$out" --context 16k
step "every real file, beside pysam"
python "$here/score_real_files.py" --model "$model" --data "$data" --out "$out/files" --context 16k
step "killed, two processes, a cluster"
python "$here/rehearse_scoring.py" --model "$model" --data "$data" --out "$out/rehearsal" --context 16k
step "quantiles, haplotypes, a track, every substitution"
b37=$data/human/b37.BRCA1_17_41196313-41277500.fa
dnamamba score "$model" "$data/vcf/b37.BRCA1.1000G.vcf.gz" --reference "$b37" --context 16k --calibrate 100 \
    --out "$out/brca1.tsv"
dnamamba score "$model" "$data/vcf/hg38.chr20.NA24385.vcf.gz" --reference "$data/human/hg38.chr20_1-1000000.fa.gz" \
    --context 16k --phased --out "$out/haplotypes.tsv"
dnamamba track "$model" --reference "$data/human/b37.z_1Mb.fa.gz" --context 16k --out "$out/z.bw"
dnamamba saturate "$model" chr20:10,000,101-10,000,300 --context 16k --out "$out/saturation.png" \
    --reference "$data/human/hg19.chr20_9995001-11095000_in_N.fa.gz"
step "done"
