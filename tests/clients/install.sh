#!/bin/sh
# Installs the client libraries that the programs in this folder drive, under DIR:
#   DIR/venv      one Python environment for all Python clients
#   DIR/node      node_modules for all Node clients
#   DIR/ready     written last; holds the digest of what was asked for, so that a second run does nothing
# Usage: tests/clients/install.sh DIR
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
dir=${1:?usage: install.sh DIR}
mkdir -p "$dir"
dir=$(CDPATH= cd -- "$dir" && pwd)

wanted=$(cat "$here/requirements.txt" "$here/node/package.json" | cksum)
if [ -f "$dir/ready" ] && [ "$(cat "$dir/ready")" = "$wanted" ]; then
  echo "clients: up to date in $dir"
  exit 0
fi
rm -f "$dir/ready"

if command -v uv >/dev/null 2>&1; then
  [ -x "$dir/venv/bin/python" ] || uv venv --quiet "$dir/venv"
  uv pip install --quiet --python "$dir/venv/bin/python" -r "$here/requirements.txt"
else
  [ -x "$dir/venv/bin/python" ] || python3 -m venv "$dir/venv"
  "$dir/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
fi

mkdir -p "$dir/node"
cp "$here/node/package.json" "$dir/node/package.json"
(cd "$dir/node" && npm install --silent --no-progress --no-audit --no-fund --ignore-scripts)

"$dir/venv/bin/python" - <<'PY'
from importlib.metadata import version
names = "openai anthropic google-genai langgraph langchain-openai pydantic-ai-slim openai-agents"
for name in names.split():
    print(f"clients: {name} {version(name)}")
PY
(cd "$dir/node" && node -e '
for (const [name] of Object.entries(require("./package.json").dependencies)) {
  const fs = require("fs");
  const { version } = JSON.parse(fs.readFileSync(`node_modules/${name}/package.json`));
  console.log(`clients: ${name} ${version} (node)`);
}')

printf '%s' "$wanted" > "$dir/ready"
echo "clients: ready in $dir"
