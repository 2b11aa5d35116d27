import type { WeightedSemaphore } from '../../lib/semaphore.ts';
import { pause } from '../../lib/waiting.ts';

/** Milliseconds after which a delivery that waits for its subscription's limit is refused and releases its permits. */
const MAX_WAIT_MS = 1_000;
/**
 * The same limit for a subscription with an attempt that ended within MAX_WAIT_MS: then only the sender is busy, and
 * queueing the delivery in Postgres costs more than the attempt itself. Less than the age at which a first message needs a
 * lease (TRUST_FIRST_FOR_MS).
 */
const MAX_ACTIVE_WAIT_MS = 5_000;
/**
 * Shares of the free permits that one subscription may use in flight and waiting (the dynamic thresholds of Choudhury and
 * Hahne, 1998): a single active subscription can use its whole limit, and hundreds of stalled endpoints still leave permits
 * for other subscriptions.
 */
const IN_FLIGHT_SHARE = 1 / 8;
const WAITING_SHARE = 1 / 2;
/**
 * Multiple of the free permits that one tenant may use: seven eighths of all permits for a single active tenant, less than
 * half for each of two. Stalled endpoints of one tenant therefore leave permits for other tenants.
 */
const TENANT_SHARE = 7;
/** Multiple of an equal share of all permits that a subscription may always have waiting, because arrivals are uneven. */
const FAIR_SHARES = 2;
/** Upper bound of that share, as a part of all permits. */
const MAX_FAIR_SHARE = 1 / 8;
/** Milliseconds without a completed attempt after which a subscription gets no fair share. */
const STALLED_AFTER_MS = 250;

/** A delivery and its permits of the sender's semaphore: several if it has much data. */
export type LimiterEntry = {
  readonly delivery: { readonly subscriptionId: string; readonly tenant: string };
  readonly permits: number;
};

export type SubscriptionLimits = { readonly maxInFlight: number; readonly rateLimitPerSecond: number | null };

/** Permits used by a tenant's running attempts (`inFlight`), and by all of its deliveries (`used`). */
type Tenant = { inFlight: number; used: number };

type Usage = {
  readonly tenant: Tenant;
  maxInFlight: number;
  inFlight: number;
  /** Permits used by running attempts, by deliveries queued here, and by deliveries waiting for their send time. */
  readonly used: { inFlight: number; waiting: number; waitingForSendTime: number };
  /** Time at which the last attempt ended, initially that of this object's creation (performance.now()). */
  lastEndedAt: number;
  readonly waiting: Waiter[];
};

type Waiter = Pick<LimiterEntry, 'permits'> & {
  readonly resolve: (isAllowed: boolean) => void;
  timer: NodeJS.Timeout;
};

type LimiterOptions = {
  /** This process's share of a subscription's limit. Default: all of it. */
  readonly shareOf?: (limit: number) => number;
  /** Called when a delivery begins to wait for its subscription's limit. */
  readonly onWait?: () => void;
};

/** Limits the concurrent attempts of each subscription, and shares the sender's permits among subscriptions and tenants. */
export class SubscriptionLimiter {
  readonly #permits: WeightedSemaphore;
  readonly #options: LimiterOptions;
  readonly #usages = new Map<string, Usage>();
  readonly #tenants = new Map<string, Tenant>();
  #inFlight = 0;
  #permitsInFlight = 0;
  #waiting = 0;

  /** `permits`: the sender's semaphore, from which each delivery acquires its permits before acquire() is called. */
  constructor(permits: WeightedSemaphore, options: LimiterOptions = {}) {
    this.#permits = permits;
    this.#options = options;
  }

  /** Attempts in flight, of all subscriptions. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether at least one delivery waits for its subscription's limit. */
  get isContended(): boolean {
    return this.#waiting > 0;
  }

  /** Resolves with true when an attempt may start: the caller must release() it. Resolves with false if it may not. */
  async acquire(
    { delivery, permits }: LimiterEntry,
    { maxInFlight, rateLimitPerSecond }: SubscriptionLimits,
  ): Promise<boolean> {
    const usage = this.#usageOf(delivery);
    usage.maxInFlight = this.#options.shareOf?.(maxInFlight) ?? maxInFlight;
    // Waiting deliveries are admitted when an attempt of their subscription ends. With none in flight, that never happens.
    if (usage.inFlight === 0 && this.#isTenantFull(usage.tenant)) {
      this.#forgetIdle(delivery, usage);
      return false;
    }
    if (usage.waiting.length === 0 && this.#hasRoom(usage)) {
      this.#begin(usage, permits);
      return true;
    }
    if (usage.used.waiting >= this.#maxWaiting(usage)) return false;
    use(usage, 'waiting', permits);
    return new Promise((resolve) => {
      // Deliveries whose send times passed here are sent together once attempts end.
      const maxWaitMs = rateLimitPerSecond === null ? MAX_ACTIVE_WAIT_MS : MAX_WAIT_MS;
      const refuseAt = performance.now() + maxWaitMs;
      const refuse = () => {
        const now = performance.now();
        if (now < refuseAt && now - usage.lastEndedAt < MAX_WAIT_MS) {
          waiter.timer = setTimeout(refuse, MAX_WAIT_MS);
          return;
        }
        usage.waiting.splice(usage.waiting.indexOf(waiter), 1);
        this.#waiting -= 1;
        use(usage, 'waiting', -permits);
        this.#forgetIdle(delivery, usage);
        resolve(false);
      };
      const waiter: Waiter = { permits, resolve, timer: setTimeout(refuse, MAX_WAIT_MS) };
      usage.waiting.push(waiter);
      this.#waiting += 1;
      this.#options.onWait?.();
    });
  }

  /** Waits `waitMs` for the send time; false immediately if the subscription or tenant uses too many permits. */
  async waitForSendTime(
    { delivery, permits }: LimiterEntry,
    { waitMs, signal }: { readonly waitMs: number; readonly signal: AbortSignal },
  ): Promise<boolean> {
    if (waitMs <= 0) return true;
    const usage = this.#usageOf(delivery);
    const { free } = this.#permits;
    const isFull =
      usage.used.waitingForSendTime >= Math.max(1, free * WAITING_SHARE) || usage.tenant.used > free * TENANT_SHARE;
    if (!isFull) {
      use(usage, 'waitingForSendTime', permits);
      await pause(waitMs, signal);
      use(usage, 'waitingForSendTime', -permits);
    }
    this.#forgetIdle(delivery, usage);
    return !isFull;
  }

  release({ delivery, permits }: LimiterEntry): void {
    const usage = this.#usageOf(delivery);
    usage.inFlight -= 1;
    use(usage, 'inFlight', -permits);
    usage.lastEndedAt = performance.now();
    this.#inFlight -= 1;
    this.#permitsInFlight -= permits;
    while (this.#hasRoom(usage)) {
      const waiter = usage.waiting.shift();
      if (waiter === undefined) break;
      clearTimeout(waiter.timer);
      this.#waiting -= 1;
      use(usage, 'waiting', -waiter.permits);
      this.#begin(usage, waiter.permits);
      waiter.resolve(true);
    }
    this.#forgetIdle(delivery, usage);
  }

  /** Maximum waiting permits. Under overload, a subscription that is not stalled keeps a fair share. */
  #maxWaiting({ lastEndedAt, tenant }: Usage): number {
    const { free, limit } = this.#permits;
    const isStalled = performance.now() - lastEndedAt >= STALLED_AFTER_MS;
    const fairShare = limit * Math.min(MAX_FAIR_SHARE, FAIR_SHARES / this.#usages.size);
    return Math.max(tenant.used > free * TENANT_SHARE ? 0 : free * WAITING_SHARE, isStalled ? 0 : fairShare);
  }

  #begin(usage: Usage, permits: number): void {
    usage.inFlight += 1;
    use(usage, 'inFlight', permits);
    this.#inFlight += 1;
    this.#permitsInFlight += permits;
  }

  #hasRoom({ inFlight, maxInFlight, used, tenant }: Usage): boolean {
    if (inFlight >= maxInFlight || this.#isTenantFull(tenant)) return false;
    return used.inFlight < Math.max(1, Math.floor(this.#permits.free * IN_FLIGHT_SHARE));
  }

  /** Counts the permits of running attempts only: deliveries leave the other states within MAX_ACTIVE_WAIT_MS. */
  #isTenantFull({ inFlight }: Tenant): boolean {
    return inFlight > 0 && inFlight >= TENANT_SHARE * Math.max(0, this.#permits.limit - this.#permitsInFlight);
  }

  #usageOf({ subscriptionId, tenant: name }: LimiterEntry['delivery']): Usage {
    const known = this.#usages.get(subscriptionId);
    if (known !== undefined) return known;
    const tenant = this.#tenants.get(name) ?? { inFlight: 0, used: 0 };
    this.#tenants.set(name, tenant);
    const usage = {
      tenant,
      maxInFlight: 0,
      inFlight: 0,
      used: { inFlight: 0, waiting: 0, waitingForSendTime: 0 },
      lastEndedAt: performance.now(),
      waiting: [],
    };
    this.#usages.set(subscriptionId, usage);
    return usage;
  }

  #forgetIdle({ subscriptionId, tenant }: LimiterEntry['delivery'], usage: Usage): void {
    if (usage.inFlight > 0 || usage.used.waitingForSendTime > 0 || usage.waiting.length > 0) return;
    this.#usages.delete(subscriptionId);
    if (usage.tenant.used === 0) this.#tenants.delete(tenant);
  }
}

function use({ used, tenant }: Usage, state: keyof Usage['used'], permits: number): void {
  used[state] += permits;
  tenant.used += permits;
  if (state === 'inFlight') tenant.inFlight += permits;
}
