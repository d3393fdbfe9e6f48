#!/bin/sh
# A decision on an order: cancel it, if it has not been paid. Needs jq.
#
#     esctl decide order-1047 --exec ./decide_cancel.sh      (in this folder)
#
# The state comes on stdin, as `esctl state` prints it. What is printed is appended, if nobody else was faster; exit 1
# refuses, and the last words on stderr are the reason; printing nothing decides nothing.
set -eu

state=$(cat)
status=$(printf '%s\n' "$state" | jq -r .state.status)
case $status in
  Placed)
    printf '%s\n' "$state" | jq -c '{type: "OrderCancelled",
      data: {order_id: (.stream | ltrimstr("order-")), customer_id: .state.customer_id, reason: "Never paid"}}' ;;
  Cancelled) ;; # asked before: nothing is left to do
  *)
    echo "the order is $status" >&2
    exit 1 ;;
esac
