import { pause } from '../pause.ts';
import type { Places } from './places.ts';

/** A delivery, and how many of the sender's places it takes: more than one if it has much data. */
export type Entrant = { readonly delivery: { readonly subscriptionId: string }; readonly places: number };

type Gate = {
  maxInFlight: number;
  inFlight: number;
  /** The places of what is in flight, of what waits before the gate, and of what waits for its moment. */
  readonly taken: { inFlight: number; waiting: number; pacing: number };
  /** When an attempt ended, or when it was made (performance.now()). */
  movedAt: number;
  readonly waiting: Waiter[];
};
type Waiter = Pick<Entrant, 'places'> & {
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
/** What waits comes by chance: at some gates there is twice as much as at others. */
const FAIR_SHARES = 2;
const MAX_FAIR_SHARE = 1 / 8;
/** An endpoint that has answered nothing for so long has no part in it. */
const STANDSTILL_MS = 250;

/** Lets a subscription's deliveries through one by one, so that only so many attempts of it are made at a time. */
export class Gates {
  readonly #places: Places;
  readonly #gates = new Map<string, Gate>();
  #inFlight = 0;

  constructor(places: Places) {
    this.#places = places;
  }

  /** Of all subscriptions. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** True once an attempt may be made, to be followed by leave(); false if there is no room for it. */
  async enter({ delivery, places }: Entrant, maxInFlight: number): Promise<boolean> {
    const gate = this.#gateOf(delivery.subscriptionId);
    gate.maxInFlight = maxInFlight;
    if (gate.waiting.length === 0 && this.#hasRoom(gate)) {
      this.#begin(gate, places);
      return true;
    }
    if (gate.taken.waiting >= this.#maxWaiting(gate)) return false;
    gate.taken.waiting += places;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        gate.waiting.splice(gate.waiting.indexOf(waiter), 1);
        gate.taken.waiting -= places;
        resolve(false);
      }, MAX_WAIT_MS);
      const waiter = { places, resolve, timer };
      gate.waiting.push(waiter);
    });
  }

  /** Waits before the gate for a moment that has been given to the delivery; false if too many of its subscription do. */
  async pace(
    { delivery: { subscriptionId }, places }: Entrant,
    { waitMs, signal }: { waitMs: number; signal: AbortSignal },
  ): Promise<boolean> {
    if (waitMs <= 0) return true;
    const gate = this.#gateOf(subscriptionId);
    if (gate.taken.pacing >= Math.max(1, this.#places.free * WAITING_SHARE)) return false;
    gate.taken.pacing += places;
    await pause(waitMs, signal);
    gate.taken.pacing -= places;
    this.#forgetIdle(subscriptionId, gate);
    return true;
  }

  leave({ delivery: { subscriptionId }, places }: Entrant): void {
    const gate = this.#gateOf(subscriptionId);
    gate.inFlight -= 1;
    gate.taken.inFlight -= places;
    gate.movedAt = performance.now();
    this.#inFlight -= 1;
    while (this.#hasRoom(gate)) {
      const waiter = gate.waiting.shift();
      if (waiter === undefined) break;
      clearTimeout(waiter.timer);
      gate.taken.waiting -= waiter.places;
      this.#begin(gate, waiter.places);
      waiter.resolve(true);
    }
    this.#forgetIdle(subscriptionId, gate);
  }

  /** When hardly a place is free because there is more to do for everybody than can be done, each may have its part. */
  #maxWaiting({ movedAt }: Gate): number {
    const { free, limit } = this.#places;
    const isMoving = performance.now() - movedAt < STANDSTILL_MS;
    const fairShare = limit * Math.min(MAX_FAIR_SHARE, FAIR_SHARES / this.#gates.size);
    return Math.max(free * WAITING_SHARE, isMoving ? fairShare : 0);
  }

  #begin(gate: Gate, places: number): void {
    gate.inFlight += 1;
    gate.taken.inFlight += places;
    this.#inFlight += 1;
  }

  #forgetIdle(subscriptionId: string, { inFlight, taken, waiting }: Gate): void {
    if (inFlight === 0 && taken.pacing === 0 && waiting.length === 0) this.#gates.delete(subscriptionId);
  }

  #gateOf(subscriptionId: string): Gate {
    const gate = this.#gates.get(subscriptionId) ?? {
      maxInFlight: 0,
      inFlight: 0,
      taken: { inFlight: 0, waiting: 0, pacing: 0 },
      movedAt: performance.now(),
      waiting: [],
    };
    this.#gates.set(subscriptionId, gate);
    return gate;
  }

  #hasRoom({ inFlight, maxInFlight, taken }: Gate): boolean {
    return inFlight < maxInFlight && taken.inFlight < Math.max(1, Math.floor(this.#places.free * IN_FLIGHT_SHARE));
  }
}
