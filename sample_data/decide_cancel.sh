#!/bin/sh
# Decides on an order: cancel it if it has not been paid. Needs jq.
#
#     esctl decide order-1047 --exec ./decide_cancel.sh      (in this folder)
#
# It reads the state on stdin, as `esctl state` prints it. esctl appends the events that it prints, unless another writer
# was faster. Exit 1 refuses, with its stderr as the reason. No output: nothing is appended.
set -eu

state=$(cat)
status=$(printf '%s\n' "$state" | jq -r .state.status)
case $status in
  Placed)
    printf '%s\n' "$state" | jq -c '{type: "OrderCancelled",
      data: {order_id: (.stream | ltrimstr("order-")), customer_id: .state.customer_id, reason: "Never paid"}}' ;;
  Cancelled) ;; # cancelled before: nothing to do
  *)
    echo "the order is $status" >&2
    exit 1 ;;
esac
