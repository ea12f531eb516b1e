#!/usr/bin/env bash
# Airflow on one machine over the DAGs of this checkout: SQLite, loopback only, no example DAGs.
# Its home is AIRFLOW_HOME; `airflow` is taken from the PATH.
#
# The parts are started one by one: `airflow standalone` (3.3) also serves the logs of its tasks on
# every network interface, and runs a triggerer, which no DAG here needs.
set -euo pipefail
umask 077 # the password and the signing key lie in the home

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
port=${AIRFLOW_PORT:-8080}

export AIRFLOW__CORE__DAGS_FOLDER=${AIRFLOW__CORE__DAGS_FOLDER:-$checkout/dags}
export AIRFLOW__CORE__LOAD_EXAMPLES=false
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL=http://127.0.0.1:$port/execution/
export AIRFLOW__API__BASE_URL=http://127.0.0.1:$port
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__API__PORT=$port
export AIRFLOW__API__WORKERS=1
export AIRFLOW__CORE__PARALLELISM=4

mkdir -p "$AIRFLOW_HOME"
airflow db migrate >"$AIRFLOW_HOME/migrate.log" 2>&1 || {
  tail -20 "$AIRFLOW_HOME/migrate.log" >&2
  exit 1
}

stop() {
  trap - EXIT INT TERM
  jobs -p | xargs -r kill 2>/dev/null || true
  wait
}
trap stop EXIT
trap 'exit 0' INT TERM

airflow api-server >"$AIRFLOW_HOME/api-server.log" 2>&1 &
airflow scheduler --skip-serve-logs >"$AIRFLOW_HOME/scheduler.log" 2>&1 &
airflow dag-processor >"$AIRFLOW_HOME/dag-processor.log" 2>&1 &

echo "Airflow: http://127.0.0.1:$port   Dagster: ${MARQUEE_DAGSTER_URL:-http://127.0.0.1:3000}"
echo "The user is admin, the password is in $AIRFLOW_HOME/simple_auth_manager_passwords.json.generated"
echo "What its parts say is in $AIRFLOW_HOME/*.log"
wait -n || true # one that ends takes the others along
tail -n 5 "$AIRFLOW_HOME"/{api-server,scheduler,dag-processor}.log >&2
exit 1
