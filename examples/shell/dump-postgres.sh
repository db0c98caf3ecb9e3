#!/usr/bin/env bash
# Uploads a dump of a PostgreSQL database, whole or not at all: dump-postgres.sh DATABASE oss://BUCKET/FOLDER/
# Run it again after any failure: a sealed upload is finished without a new dump. The custom format is compressed.
set -euo pipefail
database=$1 folder=$2

exec oss-spool run "$folder$database-$(date +%F).dump" -- pg_dump --format=custom "$database"
