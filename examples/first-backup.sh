#!/usr/bin/env bash
# Backs up a folder into a local store, lists, restores one file, compares it, and verifies the whole.
#   bash examples/first-backup.sh [FOLDER]        without a folder: the documentation of this checkout
# Writes only into target/.
set -euo pipefail
trap 'code=$?; [ "$code" = 0 ] || printf "\nfirst-backup.sh stopped with exit code %s; the lines above say why.\n" "$code" >&2' EXIT
CDPATH=

# Before the current folder changes. The x keeps a line break at the end of a name.
given=${1:-$(dirname -- "$0")/../docs}
if ! folder=$(cd -- "$given" 2>/dev/null && printf '%sx' "$PWD"); then
    printf 'cannot enter %s: it is not a folder, or not accessible. Usage: bash examples/first-backup.sh [FOLDER]\n' "$given" >&2
    exit 2
fi
folder=${folder%x}
cd -- "$(dirname -- "$0")/.."
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
work=$PWD/target/first-backup

# What it will do, and how much that is: counted for three seconds at most, for a folder can be large.
read -r files bytes complete < <(
    { timeout 3 find "$folder" -type f -printf '%s\n' 2>/dev/null || printf 'code %s\n' "$?"; } |
        awk '/^code/ { code = $2; next } { files++; bytes += $1 }
            END { printf "%d %.0f %s\n", files, bytes, code == 124 ? "no" : "yes" }'
)
size=$(numfmt --to=iec-i --suffix=B "$bytes" 2>/dev/null || printf '%s bytes' "$bytes")
[ "$complete" = yes ] || size="$size so far; it is large, so counting was stopped"
# 50 MB and 1,500 files each second are what a small machine reads, compresses and encrypts, and then verifies.
seconds=$((bytes / 50000000 + files / 1500))
if [ "$complete" = no ]; then
    time='many minutes; a smaller folder shows the same'
elif [ "$seconds" -lt 10 ]; then
    time='a few seconds'
else
    time="about $((seconds / 60 + 1)) min"
fi
intro='This backs up'
[ $# != 0 ] || intro='No folder was given, so this backs up the documentation of Intellistor:'
isal=()
fast='without ISA-L, the fast compressor: apt install libisal-dev'
if [ -e /usr/include/isa-l.h ]; then
    isal=(--features intellistor-cli/isal)
    fast='with ISA-L, the fast compressor'
fi
cat <<TXT
$intro
  $folder ($files files, $size)
Steps:
  1. build the programs ($fast): 5 to 15 min the first time, seconds after that
  2. create a key and a policy, back up, list, restore a file and compare it, verify: $time
Everything is written into $work, which takes up to as much room as the files.

TXT
# The whole workspace, so that the tests find everything built. On a terminal cargo shows how far it is.
cargo build --release --workspace "${isal[@]}"

rm -rf -- "$work"
mkdir -p -- "$work"
cd -- "$work"
# The key is the one that is made here.
unset INTELLISTOR_KEY INTELLISTOR_PASSPHRASE
export INTELLISTOR_KEY_FILE=$work/key

# Runs a command of backup-client. 3 means that it is done, and that a person should read its warnings.
run() {
    printf '\n$ backup-client'
    printf ' %q' "$@"
    printf '\n'
    local code=0
    "$target/release/backup-client" "$@" || code=$?
    case $code in
        0) ;;
        3) printf '(Exit code 3: done, but see "warnings" above.)\n' ;;
        *) return "$code" ;;
    esac
}

# The first file that can be read, is not too large to look at, and was not made here: the folder may hold this checkout.
# `head` would end `find` by a signal.
choose() {
    local candidate
    file=
    while IFS= read -r -d '' candidate; do
        if [ -r "$folder/$candidate" ] && [[ $folder/${candidate#./} != "$work/"* ]]; then
            file=$candidate
            return
        fi
    done < <(cd -- "$folder" && find . -type f -size -20480 -print0 2>/dev/null)
}

# A glob that means this file: `[b].txt` would be `b.txt`. For bytes that are no text it says "anything"; then more than this
# file may come back. The x is there as above.
glob_of() {
    local LC_ALL=C glob
    glob=$(printf '%sx' "$1" | LC_ALL=C sed 's/[][*?{}\\]/\\&/g')
    if ! printf %s "$1" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1; then
        glob=${glob//[^ -~]/*}
    fi
    printf %s "$glob"
}

run key-create --out key
run policy-create --out policy.yaml --policy-id first-backup --paths "$folder" --store "file://$work/store"
run backup --policy policy.yaml
run list --policy policy.yaml

choose
if [ -n "$file" ]; then
    file=${file#./}
    only=$(glob_of "$file")
    run restore --policy policy.yaml --latest --out restored "--only=${only%x}"
    cmp -- "$folder/$file" "restored/$file"
    printf '\nrestored/%q is identical to the original.\n' "$file"
else
    printf '\nThe folder holds no file that can be read, so all that it holds is restored.\n'
    run restore --policy policy.yaml --latest --out restored
fi
run verify --policy policy.yaml --latest

cat <<TXT

Done. In $work:
  key          opens the backup; whoever loses it loses the backup
  policy.yaml  what is backed up, and where to
  store/       the encrypted archive and its manifest
  restored/    what came back
Remove all of it with: rm -r $(printf %q "$work")
TXT
