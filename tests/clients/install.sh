#!/usr/bin/env bash
# Installs the clients that the programs in this folder drive, each group of `lists/` in a folder of its own:
#   DIR/GROUP            of GROUP.pip a Python environment, of GROUP.npm a folder with node_modules
#   DIR/GROUP.ready      the digest of its list, once it is installed: a second run does nothing
#   DIR/GROUP.failed     why it could not be installed; the other groups are installed all the same
# Usage: tests/clients/install.sh DIR [GROUP…]
# Fails only if no group could be installed. LOOPTAPE_INSTALL_S is what one group may take, 600 by default.
set -u

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dir=${1:?usage: install.sh DIR [GROUP...]}
shift
mkdir -p "$dir"
dir=$(CDPATH='' cd -- "$dir" && pwd)
patience=${LOOPTAPE_INSTALL_S:-600}

packages() { grep -v '^#' "$1"; }

install_pip() {
  if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --python python3 "$2" && uv pip install --quiet --compile-bytecode --python "$2/bin/python" -r "$1"
  else
    python3 -m venv "$2" && "$2/bin/python" -m pip install --quiet --disable-pip-version-check -r "$1"
  fi
}

# The agents' own programs are put in place by scripts of their packages; libraries need none, and artillery's would
# fetch a browser.
install_npm() {
  local scripts=()
  case $(basename "$1") in node.npm | artillery.npm) scripts=(--ignore-scripts) ;; esac
  mkdir -p "$2"
  echo '{ "private": true }' > "$2/package.json"
  # shellcheck disable=SC2046 # one word a package
  (cd "$2" && npm install --loglevel=error --no-progress --no-audit --no-fund "${scripts[@]}" $(packages "$1"))
}

# install GROUP: prints one line.
install() {
  local group=$1 list kind log="$dir/$1.log" started=$SECONDS
  list=$(ls "$here/lists/$group".*)
  kind=${list##*.}
  local wanted
  wanted=$(cksum < "$list")
  if [ "$(cat "$dir/$group.ready" 2>/dev/null)" = "$wanted" ]; then
    echo "clients: $group is up to date"
    return
  fi
  rm -rf "${dir:?}/$group" "$dir/$group.ready" "$dir/$group.failed"
  export -f packages install_pip install_npm
  if timeout "$patience" bash -c "set -e; install_$kind \"\$@\"" install "$list" "$dir/$group" > "$log" 2>&1; then
    printf '%s' "$wanted" > "$dir/$group.ready"
    echo "clients: $group installed in $((SECONDS - started)) s"
  else
    local code=$? why
    why=$(grep -v '^ *$' "$log" | tail -1 | cut -c1-200)
    [ "$code" = 124 ] && why="it took more than $patience s"
    printf '%s' "${why:-exit code $code}" > "$dir/$group.failed"
    echo "clients: SKIPPED $group: ${why:-exit code $code}"
  fi
}

groups=("$@")
if [ ${#groups[@]} = 0 ]; then
  for list in "$here"/lists/*; do
    group=$(basename "$list")
    groups+=("${group%.*}")
  done
fi
# Two at a time: one waits for the network while the other unpacks.
running=0
for group in "${groups[@]}"; do
  if [ $running = 2 ]; then
    wait -n
    running=1
  fi
  install "$group" &
  running=$((running + 1))
done
wait
ls "$dir"/*.ready >/dev/null 2>&1 || { echo "clients: none could be installed"; exit 1; }
echo "clients: $(ls "$dir"/*.ready | wc -l) of $(ls "$here"/lists | wc -l) groups are in $dir"
