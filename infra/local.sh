#!/usr/bin/env bash
# MLflow server, Prefect server and one Prefect worker on this machine, reachable from it alone. Ctrl-C ends all.
# Usage, from anywhere: infra/local.sh [pool]      (pool: cpu or gpu; default cpu)
set -euo pipefail
cd "$(dirname "$0")/.."
pool=${1:-cpu}
mlflow_port=${MLFLOW_PORT:-5000}
prefect_port=${PREFECT_PORT:-4200}
export PATH="$PWD/.venv/bin:$PATH"
export PREFECT_CLI_PROMPT=false MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false  # no questions; no workers for chat models
export MLFLOW_DISABLE_TELEMETRY=true PREFECT_SERVER_ANALYTICS_ENABLED=false DVC_NO_ANALYTICS=1
# Who holds the GPU is kept on disk: a server that is started again would otherwise never give the slot back.
export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem
export PREFECT_API_URL="http://127.0.0.1:$prefect_port/api"
export MLFLOW_TRACKING_URI="http://127.0.0.1:$mlflow_port"

command -v mlflow >/dev/null || { echo "infra: the packages are missing; run make install first" >&2; exit 1; }
for port in "$mlflow_port" "$prefect_port"; do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "infra: port $port is in use; set MLFLOW_PORT or PREFECT_PORT to another" >&2
    exit 1
  fi
done

children=()
stop() { # the worker first: it tells the server that it goes
  trap - EXIT INT TERM
  for ((i = ${#children[@]} - 1; i >= 0; i--)); do
    kill "${children[i]}" 2>/dev/null || continue
    for _ in {1..15}; do kill -0 "${children[i]}" 2>/dev/null || break; sleep 1; done
    kill -9 "${children[i]}" 2>/dev/null || true
  done
}
trap 'stop; exit 130' INT TERM
trap stop EXIT

mlflow server --backend-store-uri sqlite:///mlflow.db --artifacts-destination mlartifacts \
  --host 127.0.0.1 --port "$mlflow_port" --workers 1 &
children+=($!)
prefect server start --host 127.0.0.1 --port "$prefect_port" &
children+=($!)

until curl -sf "$PREFECT_API_URL/health" >/dev/null && curl -sf "$MLFLOW_TRACKING_URI/health" >/dev/null; do
  for child in "${children[@]}"; do
    kill -0 "$child" 2>/dev/null || { echo "infra: a server ended; its message is above" >&2; exit 1; }
  done
  sleep 1
done
avis deploy --pool "$pool" >/dev/null
prefect worker start --pool "$pool" &
children+=($!)
cat <<END

MLflow   $MLFLOW_TRACKING_URI
Prefect  http://127.0.0.1:$prefect_port
In another shell:  export PREFECT_API_URL=$PREFECT_API_URL MLFLOW_TRACKING_URI=$MLFLOW_TRACKING_URI
A rebuild now:     .venv/bin/prefect deployment run rebuild/$pool
What there is:     .venv/bin/avis deploy --pool $pool
Ctrl-C ends all three.
END
wait -n || true
echo "infra: one of the three ended; ending the others" >&2
exit 1
