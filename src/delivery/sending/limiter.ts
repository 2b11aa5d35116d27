import { pause } from '../../lib/loop.ts';
import type { WeightedSemaphore } from '../../lib/semaphore.ts';

/** A delivery, and how many of the sender's places it takes: more than one if it has much data. */
export type LimiterEntry = {
  readonly delivery: { readonly subscriptionId: string; readonly tenant: string };
  readonly permits: number;
};

/** The places of a tenant's deliveries: of those in flight, and of all that have gone as far as a gate. */
type Tenant = { inFlight: number; taken: number };

type Limit = {
  readonly tenant: Tenant;
  maxInFlight: number;
  inFlight: number;
  /** The places of what is in flight, of what waits before the gate, and of what waits for its moment. */
  readonly taken: { inFlight: number; waiting: number; pacing: number };
  /** When an attempt ended, or when it was made (performance.now()). */
  movedAt: number;
  readonly waiting: Waiter[];
};
type Waiter = Pick<LimiterEntry, 'permits'> & {
  readonly resolve: (mayPass: boolean) => void;
  readonly timer: NodeJS.Timeout;
};

/** What has waited so long at a gate makes room for others. */
const MAX_WAIT_MS = 1_000;
/**
 * A subscription may have this part of the free places in flight, and that part of them waiting (the dynamic thresholds
 * of Choudhury and Hahne, 1998): alone it can use what its own limit allows, and with hundreds of endpoints that hang there
 * are still places for those that do not.
 */
const IN_FLIGHT_SHARE = 1 / 8;
const WAITING_SHARE = 1 / 2;
/**
 * And a tenant so many times the free ones: alone seven eighths, of two that hang each less than half. So the endpoints of
 * one tenant, however many hang, leave room for those of another.
 */
const TENANT_SHARE = 7;
/** What waits comes by chance: at some gates there is twice as much as at others. */
const FAIR_SHARES = 2;
const MAX_FAIR_SHARE = 1 / 8;
/** An endpoint that has answered nothing for so long has no part in it. */
const STALLED_AFTER_MS = 250;

/** Lets a subscription's deliveries through one by one, so that only so many attempts of it are made at a time. */
export class SubscriptionLimiter {
  readonly #places: WeightedSemaphore;
  readonly #gates = new Map<string, Limit>();
  readonly #tenants = new Map<string, Tenant>();
  #inFlight = 0;
  #placesInFlight = 0;

  constructor(places: WeightedSemaphore) {
    this.#places = places;
  }

  /** Of all subscriptions. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** True once an attempt may be made, to be followed by leave(); false if there is no room for it. */
  async acquire({ delivery, permits: places }: LimiterEntry, maxInFlight: number): Promise<boolean> {
    const gate = this.#gateOf(delivery);
    gate.maxInFlight = maxInFlight;
    // Where nothing is in flight, nothing ends that would let in what waits.
    if (gate.inFlight === 0 && this.#isTenantFull(gate.tenant)) {
      this.#forgetIdle(delivery, gate);
      return false;
    }
    if (gate.waiting.length === 0 && this.#hasRoom(gate)) {
      this.#begin(gate, places);
      return true;
    }
    if (gate.taken.waiting >= this.#maxWaiting(gate)) return false;
    take(gate, 'waiting', places);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        gate.waiting.splice(gate.waiting.indexOf(waiter), 1);
        take(gate, 'waiting', -places);
        this.#forgetIdle(delivery, gate);
        resolve(false);
      }, MAX_WAIT_MS);
      const waiter = { permits: places, resolve, timer };
      gate.waiting.push(waiter);
    });
  }

  /** Waits before the gate for a moment that has been given to the delivery; false if too many of its subscription do. */
  async waitForSlot(
    { delivery, permits: places }: LimiterEntry,
    { waitMs, signal }: { waitMs: number; signal: AbortSignal },
  ): Promise<boolean> {
    if (waitMs <= 0) return true;
    const gate = this.#gateOf(delivery);
    const { free } = this.#places;
    const isTooMuch = gate.taken.pacing >= Math.max(1, free * WAITING_SHARE) || gate.tenant.taken > free * TENANT_SHARE;
    if (!isTooMuch) {
      take(gate, 'pacing', places);
      await pause(waitMs, signal);
      take(gate, 'pacing', -places);
    }
    this.#forgetIdle(delivery, gate);
    return !isTooMuch;
  }

  release({ delivery, permits: places }: LimiterEntry): void {
    const gate = this.#gateOf(delivery);
    gate.inFlight -= 1;
    take(gate, 'inFlight', -places);
    gate.movedAt = performance.now();
    this.#inFlight -= 1;
    this.#placesInFlight -= places;
    while (this.#hasRoom(gate)) {
      const waiter = gate.waiting.shift();
      if (waiter === undefined) break;
      clearTimeout(waiter.timer);
      take(gate, 'waiting', -waiter.permits);
      this.#begin(gate, waiter.permits);
      waiter.resolve(true);
    }
    this.#forgetIdle(delivery, gate);
  }

  /** When hardly a place is free because there is more to do for everybody than can be done, each may have its part. */
  #maxWaiting({ movedAt, tenant }: Limit): number {
    const { free, limit } = this.#places;
    const isMoving = performance.now() - movedAt < STALLED_AFTER_MS;
    const fairShare = limit * Math.min(MAX_FAIR_SHARE, FAIR_SHARES / this.#gates.size);
    return Math.max(tenant.taken > free * TENANT_SHARE ? 0 : free * WAITING_SHARE, isMoving ? fairShare : 0);
  }

  #begin(gate: Limit, places: number): void {
    gate.inFlight += 1;
    take(gate, 'inFlight', places);
    this.#inFlight += 1;
    this.#placesInFlight += places;
  }

  #forgetIdle({ subscriptionId, tenant }: LimiterEntry['delivery'], gate: Limit): void {
    if (gate.inFlight > 0 || gate.taken.pacing > 0 || gate.waiting.length > 0) return;
    this.#gates.delete(subscriptionId);
    if (gate.tenant.taken === 0) this.#tenants.delete(tenant);
  }

  #gateOf({ subscriptionId, tenant: name }: LimiterEntry['delivery']): Limit {
    const known = this.#gates.get(subscriptionId);
    if (known !== undefined) return known;
    const tenant = this.#tenants.get(name) ?? { inFlight: 0, taken: 0 };
    this.#tenants.set(name, tenant);
    const gate = {
      tenant,
      maxInFlight: 0,
      inFlight: 0,
      taken: { inFlight: 0, waiting: 0, pacing: 0 },
      movedAt: performance.now(),
      waiting: [],
    };
    this.#gates.set(subscriptionId, gate);
    return gate;
  }

  #hasRoom({ inFlight, maxInFlight, taken, tenant }: Limit): boolean {
    if (inFlight >= maxInFlight || this.#isTenantFull(tenant)) return false;
    return taken.inFlight < Math.max(1, Math.floor(this.#places.free * IN_FLIGHT_SHARE));
  }

  /** By what is in flight alone: what waits for its turn is over in a moment. */
  #isTenantFull({ inFlight }: Tenant): boolean {
    return inFlight > 0 && inFlight >= TENANT_SHARE * Math.max(0, this.#places.limit - this.#placesInFlight);
  }
}

function take({ taken, tenant }: Limit, what: keyof Limit['taken'], places: number): void {
  taken[what] += places;
  tenant.taken += places;
  if (what === 'inFlight') tenant.inFlight += places;
}
