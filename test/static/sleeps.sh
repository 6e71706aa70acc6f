#!/usr/bin/env bash
# Finds sleeps in the tests. A test must wait for a condition: eid_ct:eventually/1, a message, or a later marker. A
# fixed time is too short on a busy machine and too long on an idle machine. sleeps.txt lists the exceptions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# In Erlang, also finds a receive whose timeout is not an error. In shell commands, also finds sleeps in strings.
PATTERN='\bsleep\(|receive after|\bafter [^ ]+ -> *(ok|true)\b|(^|[^a-z_-])sleep [0-9$"]'
NO_WAIT='sleep\(infinity\)|after (infinity|0) '

# Prints the exceptions: file, code and reason, separated by " | ".
exceptions() { grep -vE '^(#|$)' test/static/sleeps.txt; }

# Prints the lines that sleep, without comments and imports.
found() {
  git ls-files --cached --others --exclude-standard -- test 'native/*/tests/*' 'native/*/examples/*' \
    | grep -E '\.(erl|rs|sh|py|escript)$|^test/(rig/rig|newcomer/)' | grep -vxF test/static/sleeps.sh \
    | xargs grep -HnE "$PATTERN" -- | grep -vE "^[^:]+:[0-9]+: *(%|//|#|use )|$NO_WAIT"
}

status=0
while IFS= read -r line; do
  file=${line%%:*} code=${line#*:*:} excused=no
  while IFS= read -r exception; do
    rest=${exception#* | } fragment=${rest%% | *}
    if [ "${exception%% | *}" = "$file" ] && [[ $code == *"$fragment"* ]]; then excused=yes; break; fi
  done < <(exceptions)
  [ "$excused" = yes ] || { echo "sleeps: wait for a condition instead, or list it in test/static/sleeps.txt: $line" >&2; status=1; }
done < <(found)

while IFS= read -r exception; do
  rest=${exception#* | } file=${exception%% | *} fragment=${rest%% | *} reason=${rest#* | }
  [[ $rest == *' | '* && -n $reason ]] || { echo "sleeps: no reason is given: $exception" >&2; status=1; }
  found | grep -F "$file:" | grep -qF -- "$fragment" || { echo "sleeps: no such line any more: $exception" >&2; status=1; }
done < <(exceptions)
exit "$status"
