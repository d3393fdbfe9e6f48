#!/usr/bin/env python3
"""Decides on a cancelled order: refund what was paid for it.

    esctl decide order-1041 --exec 'python3 decide_refund.py'      (in this folder)

It reads the state on stdin, as `esctl state` prints it. esctl appends the events that it prints, unless another writer
was faster. Exit 1 refuses, with its stderr as the reason. No output: nothing is appended.
"""

import json
import sys

order = json.load(sys.stdin)
state = order["state"]
if state["status"] != "Cancelled":
    sys.exit(f"the order is {state['status']}")  # exit 1, with this message on stderr
if state["paid"] > 0:
    refund = {
        "order_id": order["stream"].removeprefix("order-"),
        "payment_id": state["payments"][-1],
        "amount": round(state["paid"], 2),
    }
    print(json.dumps({"type": "OrderRefunded", "data": refund}))
