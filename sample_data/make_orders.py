"""Print three months of a small shop as NDJSON events, the same bytes in every run.

    python sample_data/make_orders.py > sample_data/orders.ndjson

It uses only `randrange` and `choice` of the random generator: for a given seed, these give the same values in every
Python that this script supports. Money is counted in whole cents and written as text, so that 59.90 keeps its zero.
"""

import json
import random
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

SEED = 2026
START = datetime(2026, 1, 2, tzinfo=UTC)
END = datetime(2026, 4, 1, tzinfo=UTC)  # later events are left out: those orders are still in progress
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ORDERS = 48
ORDER_EVERY = timedelta(hours=45)  # more than a day: one order a day at most, so payments are numbered in time order
WORKDAY = range(7, 17)  # hours, UTC

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Cents(int):
    """An amount of money, written as a JSON number with two decimals."""


Json: TypeAlias = "dict[str, Json] | list[Json] | str | int"
Object: TypeAlias = dict[str, Json]

CATALOGUE = (
    ("MUG-BLUE", Cents(1290)),
    ("TEAPOT-2L", Cents(5990)),
    ("KETTLE-STEEL", Cents(10010)),
    ("TEA-ASSAM-250", Cents(850)),
    ("TEA-SENCHA-100", Cents(1425)),
    ("STRAINER", Cents(400)),
    ("TRAY-OAK", Cents(3470)),
    ("GIFT-BOX", Cents(2500)),
)

CUSTOMERS = (
    ("Zoë Brânză", "zoe@example.com"),
    ("李雷", "lilei@example.org"),
    ("Iker Muñoz", "iker.munoz@example.com"),
    ("Sean O'Brien", "sean@example.net"),
    ("Hannah Fischer", "hannah@example.org"),
    ("Łukasz Żak", "lukasz@example.com"),
    ("田中 花子", "hanako@example.org"),
    ("Grace Okafor", "grace@example.com"),
    ("Søren Ågård", "soren@example.net"),
    ("Nguyễn Thị Mai", "mai@example.org"),
    ("Олена Коваль", "olena@example.com"),
    ("Priya Raman", "priya@example.net"),
    ("François L'Hôte", "francois@example.org"),
    ("Maria da Conceição", "maria@example.com"),
    ("Tom Baker", "tom@example.net"),
)
NEW_CUSTOMER_EVERY = 3  # orders
NEW_EMAILS = {201: "zoe.branza@example.org", 205: "h.fischer@example.com", 209: "soren.agard@example.com"}

PACKING_NOTES = {1003: "Gift wrap, please 🎁", 1021: "Fragile: two layers of paper"}
DELIVERY_NOTES = {1010: 'Left in locker "B\\7", code sent by SMS', 1032: "Signed for by a neighbour"}


@dataclass(frozen=True)
class Event:
    """One event, with its fields in the order of the line."""

    stream: str
    type: str
    id: str
    time: datetime
    schema: int
    data: Object
    meta: Object


@dataclass
class Shop:
    """All events so far, and the numbers used so far."""

    rng: random.Random
    events: list[Event] = field(default_factory=list)
    customers: list[int] = field(default_factory=list)
    last_payment: int = 5000


@dataclass
class Flow:
    """A chain of events with one correlation id, each caused by the previous one."""

    shop: Shop
    clock: datetime
    correlation: str
    cause: str | None = None

    def wait(self, least: timedelta, most: timedelta) -> None:
        """Let a random time pass, to the microsecond."""
        self.clock += between(self.shop.rng, least, most)

    def wait_for_work(self) -> None:
        """Outside working hours, continue in the first half hour of the next working day."""
        if self.clock.hour not in WORKDAY:
            day = self.clock if self.clock.hour < WORKDAY.start else self.clock + DAY
            self.clock = day.replace(hour=WORKDAY.start, minute=0, second=0, microsecond=0)
            self.wait(MINUTE, 30 * MINUTE)

    def emit(self, stream: str, name: str, data: Object, actor: str, schema: int = 1) -> None:
        """Add an event at the current time; it is the cause of the next one."""
        meta: Object = {"correlation_id": self.correlation}
        if self.cause is not None:
            meta["causation_id"] = self.cause
        meta["actor"] = actor
        self.cause = uuid7(self.shop.rng, self.clock)
        self.shop.events.append(Event(stream, name, self.cause, self.clock, schema, data, meta))


@dataclass(frozen=True)
class Order:
    """A placed order, with the values that later events need."""

    number: int
    customer: int
    total: Cents

    @property
    def stream(self) -> str:
        """The order's stream."""
        return f"order-{self.number}"

    @property
    def ids(self) -> Object:
        """The payload field that names the order."""
        return {"order_id": str(self.number)}


# Values


def between(rng: random.Random, least: timedelta, most: timedelta) -> timedelta:
    """Draw a duration of whole microseconds, `least` included and `most` not."""
    microsecond = timedelta(microseconds=1)
    return rng.randrange(least // microsecond, most // microsecond) * microsecond


def uuid7(rng: random.Random, time: datetime) -> str:
    """Make a version 7 UUID (RFC 9562, section 5.7): 48 bits of milliseconds, the rest random."""
    milliseconds = (time - EPOCH) // timedelta(milliseconds=1)
    high = milliseconds << 16 | 0x7 << 12 | rng.randrange(1 << 12)
    return str(uuid.UUID(int=high << 64 | 0b10 << 62 | rng.randrange(1 << 62)))


def start_flow(shop: Shop, clock: datetime) -> Flow:
    """Begin a chain of events with a new correlation id (a version 4 UUID)."""
    return Flow(shop, clock, str(uuid.UUID(int=shop.rng.randrange(1 << 128), version=4)))


def encode(value: Json) -> str:
    """Write compact JSON: text without unnecessary escapes, money with two decimals."""
    if isinstance(value, Cents):
        return f"{value // 100}.{value % 100:02d}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode(key)}:{encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encode, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def line(event: Event) -> str:
    """Write an event as one line of NDJSON."""
    fields: Object = {
        "stream": event.stream,
        "type": event.type,
        "id": event.id,
        "time": event.time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "schema": event.schema,
        "data": event.data,
        "meta": event.meta,
    }
    return encode(fields) + "\n"


# Customers


def register(shop: Shop, clock: datetime) -> int:
    """Register the next customer; some change their email address later."""
    number = 201 + len(shop.customers)
    name, email = CUSTOMERS[len(shop.customers)]
    shop.customers.append(number)
    stream = f"customer-{number}"
    flow = start_flow(shop, clock)
    flow.emit(stream, "CustomerRegistered", {"customer_id": str(number), "name": name, "email": email}, "web")
    if number in NEW_EMAILS:
        flow = start_flow(shop, clock)
        flow.wait(10 * DAY, 30 * DAY)
        data: Object = {"customer_id": str(number), "email": NEW_EMAILS[number]}
        flow.emit(stream, "CustomerEmailChanged", data, shop.rng.choice(("web", "support:ana")))
    return number


# Orders


def choose_items(rng: random.Random) -> tuple[list[Json], int]:
    """Choose one to three different products; return them and the price in cents."""
    shelf = list(CATALOGUE)
    items: list[Json] = []
    price = 0
    for _ in range(rng.randrange(1, 4)):
        sku, each = shelf.pop(rng.randrange(len(shelf)))
        quantity = rng.choice((1, 1, 1, 2, 2, 4))
        items.append({"sku": sku, "quantity": quantity, "price": each})
        price += quantity * each
    return items, price


def place(flow: Flow, number: int, customer: int) -> Order:
    """Place an order, in the schema of its month: 1 in January, 2 in February, 3 in March."""
    rng = flow.shop.rng
    schema = flow.clock.month
    items, price = choose_items(rng)
    discount = price * rng.choice((0, 0, 0, 10, 15)) // 100 if schema > 1 else 0
    order = Order(number, customer, Cents(price - discount))
    data: Object = {**order.ids, "customer_id": str(customer), "items": items}
    if schema > 1:
        data["discount"] = Cents(discount)
    data["total_amount" if schema > 2 else "amount"] = order.total
    flow.emit(order.stream, "OrderPlaced", data, "web", schema)
    return order


def cancel(flow: Flow, order: Order, reason: str, actor: str) -> None:
    """Cancel an order."""
    data: Object = {**order.ids, "customer_id": str(order.customer), "reason": reason}
    flow.emit(order.stream, "OrderCancelled", data, actor)


# Payments


def create_payment(flow: Flow, order: Order, amount: Cents, method: str) -> Object:
    """Begin a payment; return the payload fields that name it."""
    flow.shop.last_payment += 1
    ids: Object = {"payment_id": str(flow.shop.last_payment), **order.ids}
    flow.wait(MINUTE, 8 * MINUTE)
    flow.emit(f"payment-{ids['payment_id']}", "PaymentCreated", {**ids, "method": method, "amount": amount}, "web")
    return ids


def decline(flow: Flow, order: Order, reason: str) -> None:
    """Try to pay by card; the payment fails."""
    ids = create_payment(flow, order, order.total, "card")
    flow.wait(MINUTE / 20, MINUTE / 2)
    flow.emit(f"payment-{ids['payment_id']}", "PaymentFailed", {**ids, "reason": reason}, "psp")


def pay(flow: Flow, order: Order, amount: Cents, method: str) -> Object:
    """Pay an amount towards an order; return the payload fields that name the payment."""
    ids = create_payment(flow, order, amount, method)
    stream = f"payment-{ids['payment_id']}"
    if method == "bank_transfer":
        flow.wait(DAY, 2 * DAY)
    else:
        flow.wait(MINUTE / 20, MINUTE / 2)
    flow.emit(stream, "PaymentAuthorized", {**ids, "amount": amount}, "psp")
    flow.wait(MINUTE / 60, MINUTE)
    flow.emit(stream, "PaymentCaptured", {**ids, "amount": amount}, "psp")
    flow.wait(MINUTE / 600, MINUTE / 60)
    received: Object = {**order.ids, "payment_id": ids["payment_id"], "amount": amount}
    flow.emit(order.stream, "PaymentReceived", received, "psp")
    return ids


def pay_total(flow: Flow, order: Order) -> Object:
    """Pay an order in full."""
    return pay(flow, order, order.total, flow.shop.rng.choice(("card", "card", "card", "bank_transfer")))


def pay_half(flow: Flow, order: Order) -> tuple[Object, Cents]:
    """Pay with a gift card that is worth about half of the order, in whole units of money."""
    amount = Cents(order.total // 200 * 100)
    return pay(flow, order, amount, "gift_card"), amount


def refund(flow: Flow, order: Order, ids: Object, amount: Cents) -> None:
    """Refund a payment."""
    flow.wait(HOUR / 4, 3 * HOUR)
    flow.emit(f"payment-{ids['payment_id']}", "PaymentRefunded", {**ids, "amount": amount}, "psp")
    flow.wait(MINUTE / 600, MINUTE / 60)
    refunded: Object = {**order.ids, "payment_id": ids["payment_id"], "amount": amount}
    flow.emit(order.stream, "OrderRefunded", refunded, "support:ana")


# Shipments


def pack(flow: Flow, order: Order) -> Object:
    """Pack an order; return the payload fields that name its shipment, numbered 7000 + the order's number."""
    ids: Object = {"shipment_id": str(7000 + order.number), **order.ids}
    flow.wait(3 * HOUR, 20 * HOUR)
    flow.wait_for_work()
    data: Object = {**ids, "grams": flow.shop.rng.randrange(300, 6000)}
    if order.number in PACKING_NOTES:
        data["note"] = PACKING_NOTES[order.number]
    flow.emit(f"shipment-{ids['shipment_id']}", "ShipmentPacked", data, "warehouse")
    return ids


def ship(flow: Flow, order: Order) -> None:
    """Pack, dispatch and deliver an order. The tracking number is an integer that no double can hold."""
    ids = pack(flow, order)
    stream = f"shipment-{ids['shipment_id']}"
    flow.wait(HOUR, 5 * HOUR)
    flow.wait_for_work()
    tracking = 340_000_000_000_000_001 + 2 * flow.shop.rng.randrange(10**14)
    carrier = flow.shop.rng.choice(("DHL", "UPS", "Correos"))
    flow.emit(stream, "ShipmentDispatched", {**ids, "carrier": carrier, "tracking": tracking}, "warehouse")
    flow.wait(DAY, 4 * DAY)
    flow.wait_for_work()
    delivered: Object = dict(ids)
    if order.number in DELIVERY_NOTES:
        delivered["note"] = DELIVERY_NOTES[order.number]
    flow.emit(stream, "ShipmentDelivered", delivered, "carrier")


# Stories: what happens to an order


def deliver(flow: Flow, order: Order) -> None:
    """All goes well: paid, shipped, closed."""
    pay_total(flow, order)
    ship(flow, order)
    close(flow, order)


def close(flow: Flow, order: Order) -> None:
    """Close a delivered order after a while."""
    flow.wait(DAY, 4 * DAY)
    flow.emit(order.stream, "OrderClosed", order.ids, "system")


def retry_once(flow: Flow, order: Order) -> None:
    """The card is declined; a new payment succeeds."""
    decline(flow, order, "card_declined")
    deliver(flow, order)


def retry_twice(flow: Flow, order: Order) -> None:
    """Two payments fail, the third succeeds."""
    decline(flow, order, "insufficient_funds")
    decline(flow, order, "3ds_timeout")
    deliver(flow, order)


def give_up(flow: Flow, order: Order) -> None:
    """The card is declined and the customer leaves."""
    decline(flow, order, "card_expired")
    flow.wait(HOUR, 20 * HOUR)
    cancel(flow, order, "Payment failed", "web")


def change_mind(flow: Flow, order: Order) -> None:
    """Cancelled before any payment."""
    flow.wait(10 * MINUTE, 6 * HOUR)
    cancel(flow, order, "Ordered twice by mistake", "web")


def cancel_paid(flow: Flow, order: Order) -> None:
    """Cancelled after the payment and before the shipment, and refunded."""
    ids = pay_total(flow, order)
    flow.wait(HOUR, 3 * HOUR)
    cancel(flow, order, "Customer wrote: “too slow”", "support:ana")
    refund(flow, order, ids, order.total)


def send_back(flow: Flow, order: Order) -> None:
    """Delivered, sent back, and refunded."""
    ids = pay_total(flow, order)
    ship(flow, order)
    flow.wait(2 * DAY, 6 * DAY)
    refund(flow, order, ids, order.total)


def underpay(flow: Flow, order: Order) -> None:
    """A gift card pays a part and the rest never comes: cancelled, the part refunded."""
    ids, amount = pay_half(flow, order)
    flow.wait(6 * DAY, 8 * DAY)
    flow.wait_for_work()
    cancel(flow, order, "Rest of the amount never arrived", "support:ana")
    refund(flow, order, ids, amount)


def underpay_and_stay(flow: Flow, order: Order) -> None:
    """A gift card pays a part; the order waits for the rest."""
    pay_half(flow, order)


def await_payment(flow: Flow, order: Order) -> None:
    """A bank transfer is announced and has not come yet."""
    create_payment(flow, order, order.total, "bank_transfer")


def await_stock(flow: Flow, order: Order) -> None:
    """Paid, and not in stock."""
    pay(flow, order, order.total, "card")


STORIES: dict[int, Callable[[Flow, Order], None]] = {
    1004: change_mind,
    1007: retry_once,
    1009: cancel_paid,
    1012: underpay,
    1016: send_back,
    1019: retry_twice,
    1023: give_up,
    1027: retry_once,
    1030: change_mind,
    1034: send_back,
    1037: cancel_paid,
    1041: underpay_and_stay,
    1044: await_stock,
    1047: await_payment,
}


def make_events(seed: int) -> list[Event]:
    """Run the shop and return its events in the order of their times."""
    shop = Shop(random.Random(seed))
    for index in range(ORDERS):
        day = (START + index * ORDER_EVERY).replace(hour=0)
        clock = day + between(shop.rng, 7 * HOUR, 20 * HOUR)
        if index % NEW_CUSTOMER_EVERY == 0 and len(shop.customers) < len(CUSTOMERS):
            customer = register(shop, clock - between(shop.rng, 5 * MINUTE, 20 * MINUTE))
        else:
            customer = shop.rng.choice(shop.customers)
        flow = start_flow(shop, clock)
        order = place(flow, 1001 + index, customer)
        STORIES.get(order.number, deliver)(flow, order)
    return sorted((event for event in shop.events if event.time < END), key=lambda event: event.time)


def main() -> None:
    """Print the events as UTF-8 with line feeds, on every platform."""
    for event in make_events(SEED):
        sys.stdout.buffer.write(line(event).encode())


if __name__ == "__main__":
    main()
