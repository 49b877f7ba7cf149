# lib.sh - shared code of the end-to-end and fault tests: the networks, the guest, its client. To be
# sourced by bash; needs SRC, BUILD and TEST_TMP as tests/run sets them. Cleans up when the script
# exits.
set -uo pipefail
: "${SRC:?run this with tests/run}" "${BUILD:?}" "${TEST_TMP:?}"

fail() { echo "FAIL: $*" >&2; exit 1; }
skip() { echo "$*"; exit 77; }

[[ $EUID == 0 ]] || skip "needs root"
[[ -c /dev/net/tun ]] || skip "needs /dev/net/tun"
command -v qemu-system-x86_64 >/dev/null || skip "needs qemu-system-x86_64"

# shellcheck source=deploy/lib/topology.sh
. "$SRC/deploy/lib/topology.sh"
# shellcheck source=deploy/lib/guest.sh
. "$SRC/deploy/lib/guest.sh"
# shellcheck source=deploy/lib/client.sh
. "$SRC/deploy/lib/client.sh"

# Print a value of a JSON file: json FILE EXPRESSION. EXPRESSION is a Python expression, in which
# `d` is the file's object.
json()
{
	python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}
