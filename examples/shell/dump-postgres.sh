#!/usr/bin/env bash
# A dump of a PostgreSQL database that is whole or not there: dump-postgres.sh DATABASE oss://BUCKET/FOLDER/
# Run it again after any failure: what is sealed is finished without dumping again. -Fc compresses by itself.
set -euo pipefail
database=$1 folder=$2

exec oss-spool run "$folder$database-$(date +%F).dump" -- pg_dump --format=custom "$database"
