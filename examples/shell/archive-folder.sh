#!/usr/bin/env bash
# Uploads a folder as one archive: archive-folder.sh FOLDER oss://BUCKET/KEY.tar.zst
set -euo pipefail
folder=$1 object=$2

exec oss-spool run "$object" -- bash -o pipefail -c \
  'tar --create --directory "$(dirname "$0")" "$(basename "$0")" | zstd --quiet --threads=0' "$folder"
