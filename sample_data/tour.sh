#!/bin/sh
# A tour of esctl on the events of a small shop: what goes in, what comes out, and how it is proved.
#
#     sh sample_data/tour.sh      (or sh tour.sh, in a folder that esctl demo made)
#
# It works in a temporary folder and leaves nothing behind. Every line after a "$" is a command that you can type.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
ln -s "$here/orders.ndjson" "$here/shop.toml" .
unset ESCTL_LOG ESCTL_FORMAT

# Say what comes, show the command, run it.
say() { printf '\n# %s\n' "$*"; }
run() { printf '$ %s\n' "$1"; sh -c "$1"; }

say "A log is one file. Make it."
run "esctl init"

say "Append a real history: orders, payments and shipments of three months, one JSON object a line."
run "esctl append < orders.ndjson"

say "Append the same again: every event is known by its id, so nothing is stored twice."
run "esctl append < orders.ndjson"

say "What happened to order 1012? Its customer paid only half of it."
run "esctl replay order-1012 --format table"

say "The same as data. On a pipe it is NDJSON, ready for jq and its like."
run "esctl replay order-1012 --until v2"

say "As of the first of February: what had been refunded, and what was refunded since?"
run "esctl replay --type OrderRefunded --until 2026-01-31 | wc -l"
run "esctl replay --type OrderRefunded --since 2026-02-01 | wc -l"

say "Three shapes of OrderPlaced have been in use. Here is the first order of each month, payloads only."
run "esctl replay --type OrderPlaced --since 2026-01-01 --limit 1 --format raw"
run "esctl replay --type OrderPlaced --since 2026-02-01 --limit 1 --format raw"
run "esctl replay --type OrderPlaced --since 2026-03-01 --limit 1 --format raw"

say "A model says how old shapes are read, what events add up to, and which are accepted. What would it change here?"
run "esctl model plan shop.toml --format table | grep -e '^change' -e upcast -e aggregate"
run "esctl model apply shop.toml"

say "The same three orders, in one shape. What is stored was not touched."
run "esctl replay --type OrderPlaced --since 2026-01-01 --limit 1 --format raw"
run "esctl replay --type OrderPlaced --since 2026-02-01 --limit 1 --format raw"
run "esctl replay --type OrderPlaced --since 2026-03-01 --limit 1 --format raw"
run "esctl upcast check --format table | grep -e '^type' -e OrderPlaced"

say "What order 1012 was after each of its events, and which event changed what since the 28th of January."
run "esctl state order-1012 --each --format raw"
run "esctl diff order-1012 --from 2026-01-28 --format table || echo exit \$?"

say "Which orders still wait for their money? And who may still pay? Rules are asked inside the append (exit 5)."
run "esctl state --all --aggregate order --where \"state ->> 'status' = 'Placed'\""
run "esctl append order-1012 PaymentReceived amount:=130.10 || echo exit \$?"

say "Saved states make folding long streams fast, and change no answer. Take those that are due."
run "esctl snapshot take --due | wc -l"
run "esctl snapshot list --format table | head -n 3"

say "Projections are tables that events keep. Bring the model's three up to date, and look at one."
run "esctl projection run"
run "esctl projection show customer_orders --order-by 'spent desc' --limit 5 --total spent --format table"

say "What came in on the first days of March; and in all of January, with the table built as it was then."
run "esctl projection show daily_revenue --where \"day like '2026-03-0%'\" --bars revenue --format table"
run "esctl projection show daily_revenue --until 2026-01-31 --total revenue --limit 3 --format table"

say "The tables are plain tables of the file, and events make them again at any time."
run "esctl query 'select status, payments, amount from payments_by_status' --format table"
run "esctl projection status --format table"

say "Write an event by hand. Nobody may have written to the stream meanwhile: expect the version that was read."
run "esctl append order-1012 NoteAdded text='Customer called.' urgent:=true --meta actor=ann --expect 4"

say "A second writer with the same expectation is turned away, and told why (exit 4)."
run "esctl append order-1012 NoteAdded text='Me too.' --expect 4 || echo exit \$?"

say "Bad input is refused with its line, and nothing of its batch is stored (exit 5)."
run "printf '%s\n' '{\"stream\":\"s\",\"type\":\"T\"}' '{\"stream\":\"s\",\"type\":' | esctl append || echo exit \$?"

say "Compress the oldest 200 events out of the way. They are read as before."
run "esctl archive create --before '#201' --segment-events 100 --yes --quiet"
run "esctl archive list --format table"
run "esctl state order-1012 --format raw"

say "A customer wants her data gone. The events stay, the payloads go, and the log can still be proved."
run "esctl erase --stream customer-201 --reason 'request of 2026-04-02' --yes"
run "esctl replay customer-201 --format table"

say "Write down the head. Whoever has it can prove later that nothing before it was changed."
run "esctl head | tee head.txt"

say "Copy the log while it is in use."
run "esctl backup copy.db"

say "Check everything: every hash, name, version and index, and the head that was written down."
run "esctl verify --expect-head \$(cat head.txt)"

say "That is the tour. Next: esctl --help, esctl help model, esctl help cookbook."
