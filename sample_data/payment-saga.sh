#!/bin/sh
# A payment saga: authorize, capture, ship; and refund, when shipping fails. Each step is a reaction.
#
#     sh sample_data/payment-saga.sh      (or sh payment-saga.sh, in a folder that esctl demo created; it needs jq)
#
# It works in a temporary folder, which it removes at the end. Every line after a "$" is a command that you can type.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset ESCTL_FORMAT
export ESCTL_LOG="$folder/saga.db"

# say prints a comment; run prints a command and runs it. step makes or continues a reaction.
say() { printf '\n# %s\n' "$*"; }
run() { printf '$ %s\n' "$1"; sh -c "$1" 2>&1; }

cat > authorize.sh <<'HANDLER'
#!/bin/sh
# The bank says yes, if it can be reached. It gets the event's id, so asking it twice authorizes once.
if test -e bank-is-down; then
  echo "no answer from the bank for $ESCTL_ID" >&2
  exit 1
fi
jq -c '{type: "PaymentAuthorized", data: {amount: .data.amount, country: .data.country}}'
HANDLER
chmod +x authorize.sh

esctl init > /dev/null

say "Three orders. Nobody ships to Atlantis."
run "esctl append order-1 OrderPlaced amount:=30 country=SE"
run "esctl append order-2 OrderPlaced amount:=50 country=Atlantis"
run "esctl append order-3 OrderPlaced amount:=70 country=PT"

say "The first step asks the bank. With --append, what it prints is appended, exactly once for each order. The bank is down."
run "touch bank-is-down"
run "esctl react authorize --exec ./authorize.sh --append --type OrderPlaced --from beginning \
--retries 1 --backoff 0.1 --on-error park"

say "Each order waits as a dead letter, with what the handler said. Other orders would go on."
run "esctl reaction status authorize --format table"
run "esctl dead-letter list --format table"
run "esctl dead-letter show authorize order-2 --format table"

say "The bank is back: try them again."
run "rm bank-is-down"
run "esctl dead-letter retry authorize --all --quiet"
run "esctl react authorize"

say "The next steps are a line of jq each. The last one is for what shipping says when it fails."
run "esctl react capture --exec \"jq -c '{type: \\\"PaymentCaptured\\\", data: .data}'\" --append --type PaymentAuthorized \
--from beginning"
run "esctl react ship --exec \"jq -c '{data: .data, type: (if .data.country == \\\"Atlantis\\\" then \\\"ShippingFailed\\\" \
else \\\"OrderShipped\\\" end)}'\" --append --type PaymentCaptured --from beginning"
run "esctl react refund --exec \"jq -c '{type: \\\"PaymentRefunded\\\", data: {amount: .data.amount}}'\" --append \
--type ShippingFailed --from beginning"

say "What became of order 2, and what followed from what."
run "esctl replay order-2 --template '{version} {type} {data.amount}'"
run "esctl show 2 --trace --format table"

say "Run again, nothing happens twice. With --follow instead, each step would wait for new events, as a service does."
run "esctl react capture"
run "esctl reaction list --format table"
run "esctl verify --quick"
