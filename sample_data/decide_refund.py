#!/usr/bin/env python3
"""A decision on an order: give back what was paid for it before it was cancelled.

    esctl decide order-1041 --exec 'python3 decide_refund.py'      (in this folder)

The state comes on stdin, as `esctl state` prints it. What is printed is appended, if nobody else was faster; exit 1
refuses, and the last words on stderr are the reason; printing nothing decides nothing.
"""

import json
import sys

order = json.load(sys.stdin)
state = order["state"]
if state["status"] != "Cancelled":
    sys.exit(f"the order is {state['status']}")  # exit 1, with these words on stderr
if state["paid"] > 0:
    refund = {
        "order_id": order["stream"].removeprefix("order-"),
        "payment_id": state["payments"][-1],
        "amount": round(state["paid"], 2),
    }
    print(json.dumps({"type": "OrderRefunded", "data": refund}))
