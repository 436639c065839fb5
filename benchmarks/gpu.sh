#!/usr/bin/env bash
# bash benchmarks/gpu.sh [FLAGS of benchmarks/gpu.py]: on a machine with a card; under ten minutes, then send back gpu.json.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
"$python" -c 'import etabli, trl' 2>/dev/null || "$python" -m pip install --quiet --editable . bitsandbytes trl==1.16.0
exec "$python" benchmarks/gpu.py "$@"
