# shellcheck shell=bash
# Brings what tests need from package registries into the cache folder, by lock files alone, once per content of the lock
# file. What cannot be had is an error: nothing that needs it may be skipped.
#
# A script that sources this has ROOT set to the project's root.

# shellcheck source=deploy/services/packages.sh
. "$ROOT/deploy/services/packages.sh"

CACHE=${FLAGSTOP_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/flagstop}
FETCH_LIMIT_S=600

# `cache_folder NAME FILE…`: the folder of NAME for this content of the files.
cache_folder() {
  local name=$1
  shift
  echo "$CACHE/$name-$(cat -- "$@" | cksum | cut -d ' ' -f 1)"
}

# `need PROGRAM PACKAGE`
need() {
  command -v "$1" >/dev/null || install_packages "$2"
}

# `fetch_into FOLDER COMMAND…` runs the command with a new folder as its last argument, which becomes FOLDER if it succeeds.
fetch_into() {
  local folder=$1 work
  shift
  [ ! -d "$folder" ] || return 0
  mkdir -p "$(dirname -- "$folder")"
  work=$(mktemp -d "$folder.XXXXXX")
  if ! "$@" "$work" >&2 </dev/null; then
    rm -rf -- "$work"
    printf 'not fetched: %s; the messages are above\n' "$folder" >&2
    return 1
  fi
  # Whoever renames first wins; the content is the same.
  mv -T "$work" "$folder" 2>/dev/null || rm -rf -- "$work"
}

# Packages for another Python would not load: their folder's name has its version.
python_folder() {
  need python3 python3 || return 1
  echo "$(cache_folder "$1" "$2")-$(python3 -c 'import sys; print(sys.implementation.cache_tag)')"
}

fetch_python() {
  python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip || return 1
  PIP_USER=0 timeout "$FETCH_LIMIT_S" python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore \
    --no-deps --only-binary=:all: --require-hashes -r "$1" --target "$2"
}
