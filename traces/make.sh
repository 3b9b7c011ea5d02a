#!/usr/bin/env bash
# Makes the recordings of this folder again: `traces/make.sh [NAME…]` (README.md says what they are).
# Needs LOOPTAPE_CLIENTS=DIR, a folder that tests/clients/install.sh has filled.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${LOOPTAPE_CLIENTS:?a folder that tests/clients/install.sh has filled}"
export LOOPTAPE_CLIENTS

cargo build --quiet -p looptape-cli --bin looptape
cargo build --quiet -p looptape-proxy --example simulated_provider
cargo build --quiet -p looptape-example-agent
built=$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LOOPTAPE_DB=$scratch/looptape.db
# Programs by their names: where they lie on this machine is nobody's business.
PATH=$built:$LOOPTAPE_CLIENTS/venv/bin:$PATH
wanted=" $* "

# make NAME SCRIPT CMD…: records CMD against a simulated provider of its own. Some SDKs hang up on a refusal before
# they have read its body; such a run is recorded again, so that the recordings stay alike.
make() {
  local name=$1 try
  shift
  [[ $wanted == "  " || $wanted == *" $name "* ]] || return 0
  for try in 1 2 3 4 5 6 7 8; do
    record "$@"
    rm -rf "$scratch/cassette"
    looptape --quiet export last --without-environment -o "$scratch/cassette" >"$scratch/exported"
    if ! grep -q '"ending": "client_gone"' "$scratch"/cassette/calls/*.json; then
      looptape --quiet export last --without-environment -o "traces/$name"
      return
    fi
  done
  echo "$name hangs up on every refusal" >&2
  exit 1
}

record() {
  local script=$1 url
  shift
  coproc provider { "$built/examples/simulated_provider" "$script" 2>/dev/null; }
  local pid=$provider_PID
  read -r url <&"${provider[0]}"
  OPENAI_BASE_URL=$url/v1 ANTHROPIC_BASE_URL=$url GOOGLE_GEMINI_BASE_URL=$url \
    OPENAI_API_KEY=none ANTHROPIC_API_KEY=none GEMINI_API_KEY=none \
    looptape --quiet record -- "$@" >"$scratch/out" 2>"$scratch/err" || { cat "$scratch/err"; exit 1; }
  eval "exec ${provider[1]}>&-"
  wait "$pid"
}

make rust-agent demo looptape-example-agent
make python-stdlib demo python examples/python-stdlib/agent.py
make python-openai demo python examples/python-openai/agent.py
make anthropic-messages demo python tests/clients/python/anthropic_messages.py stream
make openai-responses tool_loop python tests/clients/python/openai_responses.py stream
make gemini tool_loop python tests/clients/python/google_genai.py stream
