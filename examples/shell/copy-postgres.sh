#!/usr/bin/env bash
# Uploads the rows of a query as CSV: copy-postgres.sh DATABASE "SELECT ..." oss://BUCKET/KEY.csv.zst
# With pipefail the pipe fails if psql fails, so half a table is never published.
set -euo pipefail
database=$1 query=$2 object=$3

exec oss-spool run "$object" -- bash -o pipefail -c \
  'psql --no-psqlrc --quiet --command "COPY ($1) TO STDOUT WITH (FORMAT csv, HEADER)" "$0" | zstd --quiet' \
  "$database" "$query"
