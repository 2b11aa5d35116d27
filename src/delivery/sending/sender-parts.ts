import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { LogAttempts } from '../../config/values.ts';
import { Batcher } from '../../postgres/batcher.ts';
import { cancelDeliveries } from '../queue/cancel-delivery.ts';
import type { Database } from '../../postgres/client.ts';
import { type Lease, type LeaseRequest, leaseDeliveries } from '../queue/lease-deliveries.ts';
import { loadEventData } from '../../events/load-event-data.ts';
import { type Parking, parkDeliveries } from '../queue/park-deliveries.ts';
import { postponeDeliveries } from '../queue/postpone-delivery.ts';
import { returnToWaiting } from '../queue/return-to-waiting.ts';
import type { EventBus } from '../../nats/event-bus.ts';
import type { BeginTurns } from './begin-turns.ts';
import type { Cancellations } from '../queue/cancellations.ts';
import type { CircuitBreaker } from '../circuit/breaker.ts';
import type { EgressAgents } from '../http/egress-agents.ts';
import type { Gates } from './limiter.ts';
import type { ResultWriter } from './result-writer.ts';
import type { SendSlots } from '../queue/send-slots.ts';
import type { ShortWaits } from './short-waits.ts';
import type { SubscriptionCache } from '../../subscriptions/subscription-cache.ts';

/** What the sender is given. */
export type SenderOptions = {
  readonly database: Database;
  readonly bus: EventBus;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly agents: EgressAgents;
  readonly subscriptions: SubscriptionCache;
  readonly cancellations: Cancellations;
  readonly retryScheduleMs: readonly number[];
  readonly userAgent: string;
  readonly logAttempts: LogAttempts;
};

/** What handling a delivery needs, made once by the sender. */
export type SenderParts = SenderOptions & {
  /** Aborted first: nothing more is begun. */
  readonly stopTaking: AbortSignal;
  /** Aborted later: what has been begun is given up. */
  readonly stopWorking: AbortSignal;
  readonly waits: ShortWaits;
  readonly gates: Gates;
  readonly turns: BeginTurns;
  readonly slots: SendSlots;
  readonly leases: Batcher<LeaseRequest, Lease>;
  readonly parking: Batcher<Parking, void>;
  readonly statements: DeliveryStatements;
  readonly results: ResultWriter;
  readonly circuits: CircuitBreaker;
};

/**
 * Statements about one delivery, by its id, of which many may be due at the same time: one of each kind is under way, so
 * that the writing of results waits for few of them.
 */
export type DeliveryStatements = {
  readonly cancel: Batcher<string, void>;
  /** Its message is over; it waits in Postgres until its next attempt is due. */
  readonly requeue: Batcher<string, void>;
  /** It cannot be attempted; it waits in Postgres for POSTPONE_MS. */
  readonly postpone: Batcher<string, void>;
  /** The data of its event; undefined if that is gone. */
  readonly loadData: Batcher<string, Buffer | undefined>;
};

const MAX_BATCH = 500;
/** An event's data may have 1 MiB. */
const MAX_DATA_BATCH = 16;
const POSTPONE_MS = 600_000;

/** Leases for many deliveries in one statement. */
export function createLeases({ pool }: Database): Batcher<LeaseRequest, Lease> {
  return new Batcher({
    maxItems: MAX_BATCH,
    write: async (requests) => {
      const leases = await leaseDeliveries(pool, requests);
      return requests.map(({ deliveryId }): Lease => leases.get(deliveryId) ?? { kind: 'over' });
    },
  });
}

/** Leaves deliveries to Postgres, many in one statement. */
export function createParking({ pool }: Database): Batcher<Parking, void> {
  return new Batcher<Parking, void>({
    maxItems: MAX_BATCH,
    write: async (parkings) => {
      await parkDeliveries(pool, parkings);
      return [];
    },
  });
}

export function createDeliveryStatements({ pool }: Database): DeliveryStatements {
  const batched = (work: (deliveryIds: readonly string[]) => Promise<void>) =>
    new Batcher<string, void>({
      maxItems: MAX_BATCH,
      write: async (deliveryIds) => {
        await work(deliveryIds);
        return [];
      },
    });
  return {
    cancel: batched((deliveryIds) => cancelDeliveries(pool, deliveryIds)),
    requeue: batched((deliveryIds) => returnToWaiting(pool, deliveryIds)),
    postpone: batched((deliveryIds) => postponeDeliveries(pool, { deliveryIds, waitMs: POSTPONE_MS })),
    loadData: new Batcher<string, Buffer | undefined>({
      maxItems: MAX_DATA_BATCH,
      write: async (deliveryIds) => {
        const data = await loadEventData(pool, deliveryIds);
        return deliveryIds.map((id) => data.get(id));
      },
    }),
  };
}
