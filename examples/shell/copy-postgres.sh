#!/usr/bin/env bash
# The rows of a query as CSV: copy-postgres.sh DATABASE "SELECT ..." oss://BUCKET/KEY.csv.zst
# pipefail makes the failure of psql that of the pipe, so that half a table is never published.
set -euo pipefail
database=$1 query=$2 object=$3

exec oss-spool run "$object" -- bash -o pipefail -c \
  'psql --no-psqlrc --quiet --command "COPY ($1) TO STDOUT WITH (FORMAT csv, HEADER)" "$0" | zstd --quiet' \
  "$database" "$query"
