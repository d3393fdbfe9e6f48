#!/bin/sh
# A tour of esctl on the events of a small shop.
#
#     sh sample_data/tour.sh      (or sh tour.sh, in a folder that esctl demo created)
#
# It works in a temporary folder, which it removes at the end. Every line after a "$" is a command that you can type.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
ln -s "$here/orders.ndjson" "$here/shop.toml" .
unset ESCTL_LOG ESCTL_FORMAT

# say prints a comment; run prints a command and runs it.
say() { printf '\n# %s\n' "$*"; }
run() { printf '$ %s\n' "$1"; sh -c "$1"; }

say "A log is one file. Create it."
run "esctl init"

say "Append events from a file: orders, payments and shipments of three months, one JSON object per line."
run "esctl append < orders.ndjson"

say "Append the same file again: the events have ids, so none is stored twice."
run "esctl append < orders.ndjson"

say "What happened to order 1012? Its customer paid only half of it."
run "esctl replay order-1012 --format table"

say "The same as data, up to version 2. In a pipe the output is NDJSON, for jq and similar tools."
run "esctl replay order-1012 --until v2"

say "How many refunds were there before the first of February, and how many since?"
run "esctl replay --type OrderRefunded --until 2026-01-31 | wc -l"
run "esctl replay --type OrderRefunded --since 2026-02-01 | wc -l"

say "OrderPlaced has had three schema versions. Here is the first order of each month, payloads only."
run "esctl replay --type OrderPlaced --since 2026-01-01 --limit 1 --format raw"
run "esctl replay --type OrderPlaced --since 2026-02-01 --limit 1 --format raw"
run "esctl replay --type OrderPlaced --since 2026-03-01 --limit 1 --format raw"

say "A model defines how old schemas are read, how events become a state, and which are accepted. What would it change?"
run "esctl model plan shop.toml --format table | grep -e '^change' -e upcast -e aggregate"
run "esctl model apply shop.toml"

say "The same three orders, all in the newest schema. The stored events did not change."
run "esctl replay --type OrderPlaced --since 2026-01-01 --limit 1 --format raw"
run "esctl replay --type OrderPlaced --since 2026-02-01 --limit 1 --format raw"
run "esctl replay --type OrderPlaced --since 2026-03-01 --limit 1 --format raw"
run "esctl upcast check --format table | grep -e '^type' -e OrderPlaced"

say "The state of order 1012 after each of its events, and what changed since the 28th of January, and by which event."
run "esctl state order-1012 --each --format raw"
run "esctl diff order-1012 --from 2026-01-28 --format table || echo exit \$?"

say "Which orders are not paid yet? And can a cancelled order be paid? A rule refuses that, inside the append (exit 5)."
run "esctl state --all --aggregate order --where \"state ->> 'status' = 'Placed'\""
run "esctl append order-1012 PaymentReceived amount:=130.10 || echo exit \$?"

say "Snapshots are saved states. They make folding long streams fast. Take those that are due."
run "esctl snapshot take --due | wc -l"
run "esctl snapshot list --format table | head -n 3"

say "Projections are tables that are built from events. Bring the model's three up to date, and show one."
run "esctl projection run"
run "esctl projection show customer_orders --order-by 'spent desc' --limit 5 --total spent --format table"

say "Revenue on the first days of March; then in January, with the table built as it was at the end of January."
run "esctl projection show daily_revenue --where \"day like '2026-03-0%'\" --bars revenue --format table"
run "esctl projection show daily_revenue --until 2026-01-31 --total revenue --limit 3 --format table"

say "These are ordinary tables in the file. They can be built again from the events at any time."
run "esctl query 'select status, payments, amount from payments_by_status' --format table"
run "esctl projection status --format table"

say "A reaction runs a command for each event, in order. The log keeps which events are done, and those that failed."
run "esctl react mail --shell --exec 'test \$ESCTL_STREAM != order-1042 || exit 65; cat >> mails.ndjson' \
--type OrderPlaced --from '#300'"
run "wc -l < mails.ndjson"
run "esctl dead-letter list --format table"

say "Append one event. --expect 4 refuses it if another writer has appended to the stream since version 4."
run "esctl append order-1012 NoteAdded text='Customer called.' urgent:=true --meta actor=ann --expect 4"

say "A second writer with the same expected version is refused (exit 4)."
run "esctl append order-1012 NoteAdded text='Me too.' --expect 4 || echo exit \$?"

say "Bad input is refused. The error names the line, and nothing of its batch is stored (exit 5)."
run "printf '%s\n' '{\"stream\":\"s\",\"type\":\"T\"}' '{\"stream\":\"s\",\"type\":' | esctl append || echo exit \$?"

say "Archive the oldest 200 events. They are compressed, and read as before."
run "esctl archive create --before '#201' --segment-events 100 --yes --quiet"
run "esctl archive list --format table"
run "esctl state order-1012 --format raw"

say "A customer wants her data deleted. The payloads are erased, the events stay, and the log can still be verified."
run "esctl erase --stream customer-201 --reason 'request of 2026-04-02' --yes"
run "esctl replay customer-201 --format table"

say "Save the head. With it you can prove later that nothing before it was changed."
run "esctl head | tee head.txt"

say "Copy the log while it is in use."
run "esctl backup copy.db"

say "Verify everything: every hash, name, version and index, and the saved head."
run "esctl verify --expect-head \$(cat head.txt)"

say "This is the end of the tour. Next: sh payment-saga.sh, esctl --help, esctl help model, esctl help cookbook."
