#!/usr/bin/env bash
# Backs up a folder into a local store, lists, restores one file, compares it, and verifies the whole.
#   bash examples/first-backup.sh [FOLDER]
# Everything lies in target/first-backup; nothing else is touched.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/first-backup
folder=${1:-$PWD/docs}

# The whole workspace, so that the tests find everything built.
cargo build --release --quiet --workspace
client=$PWD/target/release/backup-client
[ -n "${CARGO_TARGET_DIR:-}" ] && client=$CARGO_TARGET_DIR/release/backup-client

rm -rf "$work"
mkdir -p "$work"
cd "$work"

run() {
    printf '\n$ backup-client'
    printf ' %q' "$@"
    printf '\n'
    "$client" "$@"
}

run key-create --out key
export INTELLISTOR_KEY_FILE=$work/key
run policy-create --out policy.yaml --policy-id first-backup --paths "$folder" --store "file://$work/store"
run backup --policy policy.yaml
run list --policy policy.yaml

# One file, chosen from what the backup holds.
file=$(cd "$folder" && find . -type f | sort | head -n 1)
file=${file#./}
run restore --policy policy.yaml --latest --out restored --only "$file"
cmp "$folder/$file" "restored/$file"
printf '\nrestored/%s is identical to the original.\n' "$file"
run verify --policy policy.yaml --latest

cat <<TXT

Done. In $work:
  key          opens the backup; whoever loses it loses the backup
  policy.yaml  what is backed up, and where to
  store/       the encrypted archive and its manifest
  restored/    the file that came back
Remove all of it with: rm -r $work
TXT
