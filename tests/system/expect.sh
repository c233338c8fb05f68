# shellcheck shell=bash
# For scripts that state facts, one line for each, and end with the number of those that do not hold.
failed=0
said=$(mktemp)
trap 'rm -f "$said"' EXIT

# expect FACT PATTERN COMMAND...: the output and the status of COMMAND match PATTERN
expect() {
    fact=$1 pattern=$2
    shift 2
    "$@" > "$said" 2>&1 < /dev/null     # a file, which a container that stays may keep open
    seen="$(echo "status $?" >> "$said"; cat "$said")"
    # shellcheck disable=SC2053  # a pattern, not a string
    if [[ $seen == $pattern ]]; then
        echo "ok      $fact"
    else
        echo "FAILED  $fact"
        echo "        wanted: ${pattern//$'\n'/ | }"
        echo "        seen:   ${seen//$'\n'/ | }"
        failed=$((failed + 1))
    fi
}
