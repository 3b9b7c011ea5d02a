#!/usr/bin/env bash
# Runs `looptape test` as action.yml asks. Annotations and the step's summary are looptape's own business.
set -euo pipefail

program=${LOOPTAPE_PROGRAM:-$HOME/.cache/looptape-action/bin/looptape}
arguments=(test --report "$LOOPTAPE_REPORT" --junit "$LOOPTAPE_JUNIT")
if [ -n "${LOOPTAPE_BASELINE:-}" ]; then
  if [ -f "$LOOPTAPE_BASELINE" ]; then
    arguments+=(--baseline "$LOOPTAPE_BASELINE")
    while IFS= read -r allowed; do
      [ -z "${allowed// /}" ] || arguments+=(--max-regression "$allowed")
    done <<<"${LOOPTAPE_MAX_REGRESSION:-}"
  else
    echo "::notice title=looptape test::there is no baseline $LOOPTAPE_BASELINE yet: nothing is compared"
  fi
fi
# Words are separated as in a shell's command line.
eval "more=(${LOOPTAPE_ARGUMENTS:-})"
code=0
"$program" "${arguments[@]}" ${more[@]+"${more[@]}"} || code=$?
echo "exit-code=$code" >>"${GITHUB_OUTPUT:-/dev/null}"
exit "$code"
